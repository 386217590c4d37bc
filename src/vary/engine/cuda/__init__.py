"""Arithmetic on a GPU: a decoder's cache, weights and kernels, and the kernels and graphs of vision."""
