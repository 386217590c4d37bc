"""Readers of annotation files on disk: each is an engine whose indices are the file's records.

The way of the data::

    records.py         a large JSON file: where each record stands, one at a time as values
      -> problems.py, conversations.py, object_table.py    what is wrong with a record, and what it says
      -> pictures.py   its image, looked up in one folder
      -> base.py       what the readers share
      -> llava.py, questions.py, dialogues.py, captions.py, objects.py, refcoco.py    samples
    formats.py         the formats by name;  checks.py    every problem of a file

A record that cannot be used raises `RecordFault` with its file, line, number and place; nothing stands in
for it.
"""

from __future__ import annotations

from vary.datagen.readers.captions import CaptionConfig, CocoCaptionReader
from vary.datagen.readers.dialogues import AlpacaReader, DialogueConfig, SharegptReader
from vary.datagen.readers.llava import LlavaConfig, LlavaReader
from vary.datagen.readers.objects import CocoReader, DetectionConfig, OpenImagesConfig, OpenImagesReader
from vary.datagen.readers.questions import ChartqaReader, DocvqaReader, QuestionConfig
from vary.datagen.readers.records import RecordFault
from vary.datagen.readers.refcoco import RefcocoConfig, RefcocoReader

__all__ = [
    "AlpacaReader",
    "CaptionConfig",
    "ChartqaReader",
    "CocoCaptionReader",
    "CocoReader",
    "DetectionConfig",
    "DialogueConfig",
    "DocvqaReader",
    "LlavaConfig",
    "LlavaReader",
    "OpenImagesConfig",
    "OpenImagesReader",
    "QuestionConfig",
    "RecordFault",
    "RefcocoConfig",
    "RefcocoReader",
    "SharegptReader",
]
