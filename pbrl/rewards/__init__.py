"""What is learned from labels: reward networks as batched ensembles, and how they are trained."""
