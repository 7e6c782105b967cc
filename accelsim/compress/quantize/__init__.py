"""Quantizers (survey, Section III-D): one file for each method, and the kernels that they share."""
