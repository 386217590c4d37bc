"""Fetching checkpoints: what is known by name, what a source offers, the download, where it lies."""
