"""Many cells at once: the queue, where they are computed (here or on Ray), and their process."""
