"""Who takes part in a benchmark: vary and its peers, one file each, behind the protocols of `protocol.py`."""
