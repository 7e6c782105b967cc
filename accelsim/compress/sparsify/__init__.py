"""Sparsification: which elements go. One step for each file; `prune` is the general one. Survey, Section III-E."""
