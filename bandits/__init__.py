"""Dueling bandits: algorithms, problems, regrets and a compiled simulator. Imports nothing of pbrl."""
