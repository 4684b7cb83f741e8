"""Benchmarks for learning from preferences: preference-based RL, dueling bandits, fine-tuning."""

__version__ = "0.1.0"
