"""Checkpoint files of MindSpore, read and written without it."""
