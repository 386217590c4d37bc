"""Formats of other checkpoints as data: names, configurations, sizes, processors; and the way back."""
