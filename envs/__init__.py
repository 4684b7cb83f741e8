"""Gymnasium environments with a known horizon, reward range, success key and restorable state."""
