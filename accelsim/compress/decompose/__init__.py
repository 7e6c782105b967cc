"""Tensor decomposition of weights. `step` is the recipe step; the other files are algebra. Survey, Section III-C."""
