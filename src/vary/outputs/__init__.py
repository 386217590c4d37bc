"""What goes out: the document of what was read, and its renderings."""
