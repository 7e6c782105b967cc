"""Compute engines: base.py, and one file for each kind.

What several kinds share is in `common`, what happens inside a tile in `kernels`; `eyeriss` and `crossbars` hold the
parts of engines that are too long for one file.
"""
