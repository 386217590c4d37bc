"""Checkpoints of other formats: name maps as data, strict loading, conversion and back; and fetching.

`sources.open_source` takes a checkpoint of any known format as it is.  Every tensor must have its place in
the model and every parameter its tensor; all that do not are listed, and nothing is loaded or written.
"""
