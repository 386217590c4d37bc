"""MindOCR's interface to Vary-toy: its settings file, key by key, and a predictor that follows it."""
