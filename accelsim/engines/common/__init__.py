"""What engines of several kinds share: the tiled base, a layer as engines see it, operands, traffic."""
