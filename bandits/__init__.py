"""Dueling bandits: algorithms, problems, regrets, a compiled simulator. Imports nothing of pbrl."""
