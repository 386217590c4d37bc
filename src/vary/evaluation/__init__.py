"""Measures readers: pure metrics, suites of pages with known text, and the runner that scores them."""
