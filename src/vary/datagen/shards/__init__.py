"""Data sets on disk: WebDataset tar files with a manifest, written by any engine and read back.

A folder holds `shard-000000.tar`, `shard-000001.tar`, ... and `manifest.json`.  A sample is up to two
members of a tar file: `KEY.png` (or `KEY.jpg`) where it has an image, and `KEY.json`.  A shard has its final
name only when it is whole, and a `.json` note beside it while the data set is being written; the manifest is
complete last.  Writing again into the same folder goes on where it stopped, and gives the same bytes.
"""

from __future__ import annotations

from vary.datagen.shards.index import ShardIndex
from vary.datagen.shards.reading import read_keyed, read_manifest, read_shard, read_shards
from vary.datagen.shards.records import MANIFEST, SCHEMA
from vary.datagen.shards.writing import describe_engine, write_shards

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "ShardIndex",
    "describe_engine",
    "read_keyed",
    "read_manifest",
    "read_shard",
    "read_shards",
    "write_shards",
]
