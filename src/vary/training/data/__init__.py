"""What is learned from: sources of samples, examples with labels, batches by number, lines."""
