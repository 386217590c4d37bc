"""Other people's checkpoints: name maps as data, the layouts of their configurations, and the loader that
checks both.

`authors.load_authors_checkpoint` takes a directory of the authors of Vary as it is.  Conversion is total and
strict: every parameter of the file has its place in the model and every place its parameter, or all that do
not are listed.
"""
