"""What `vary bench` measures: a machine's limits, the model's phases on it, and installed peers beside it."""
