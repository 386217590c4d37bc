"""Other people's checkpoints: name maps as data, the layouts of their configurations, and a strict loader.

`authors.load_authors_checkpoint` takes a directory of the authors of Vary as it is.  Every tensor must have
its place in the model and every parameter its tensor; all that do not are listed, and nothing is loaded.
"""
