"""Preference matrices and environments to duel on, one family per file."""
