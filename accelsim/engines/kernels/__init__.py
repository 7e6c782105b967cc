"""What happens inside a tile: numba kernels over the real masks, bits and values, family by family."""
