"""Tile sizes, loop order and spatial assignment: searched or pinned."""
