"""The Vary model family as Transformers classes: configuration, networks, processing and presets.

Importing any module of this package registers the classes with the library's Auto classes.
"""
