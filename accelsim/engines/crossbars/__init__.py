"""Parts of the crossbar engine: values, timing, packing, zeros, faults, whole layers, and PUMA's core."""
