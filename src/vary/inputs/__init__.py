"""What comes in: page images of any source, and the reading windows that are found on them."""
