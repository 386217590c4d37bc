"""Text lines for models that read line by line: pages painted from a corpus, cut by the reader's own code."""
