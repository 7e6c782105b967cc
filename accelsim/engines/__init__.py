"""Compute engines: base.py, and one file for each kind."""
