"""Language models that decode: one interface, and behind it the library's modules or our own kernels."""
