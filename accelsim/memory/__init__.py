"""DRAM and on-chip buffers."""
