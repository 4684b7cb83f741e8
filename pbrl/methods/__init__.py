"""One published method per file: its settings and its loop, readable top to bottom."""
