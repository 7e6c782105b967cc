"""Storage formats of operands: one file each, registered by name."""
