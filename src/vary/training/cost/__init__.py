"""What training costs, told from the configuration: operations, memory, and a stage on many GPUs."""
