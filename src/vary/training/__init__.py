"""Training: recipes as functions, data as numbered pools of batches, one loop for CPU and GPU."""
