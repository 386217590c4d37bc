"""The engine: ids and tensors in, ids and log-probabilities out; stop rules and the loop guard."""
