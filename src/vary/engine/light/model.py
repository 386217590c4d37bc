"""A line model without PyTorch: `LightModel`, which reads gray lines as `vary.engine.lines` says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vary.engine.answers import Generation, finished
from vary.engine.decoding import Prompt, RowGuard, decode
from vary.engine.light.decoder import LightDecoder
from vary.engine.light.products import Floats, Head, PackedMatrix
from vary.engine.light.settings import LightSettings
from vary.engine.light.tensors import TensorFile
from vary.engine.light.text import TokenTexts
from vary.engine.light.vision import Encoded, LightVision
from vary.engine.light.weights import TEXT, check_shapes, count_weights, expected_shapes, weights_file
from vary.engine.lines import LineReading, read_batch
from vary.engine.processors import processors

__all__ = ["LightModel"]

LINES_AT_ONCE = 32
"""Lines that are decoded together: it bounds the memory for their keys and values."""


class LightModel:
    """A line model that only reads, the likeliest ids, in float32 on a CPU.

    Attributes:
        settings: what its checkpoint says of it.
        name: what computes, for people: "native float32 (AVX2)".
        context: how many tokens the language model's positions reach, prompt and answer together.
    """

    def __init__(
        self,
        settings: LightSettings,
        vision: LightVision,
        decoder: LightDecoder,
        head: Head,
        texts: TokenTexts,
    ) -> None:
        self.settings = settings
        self.context = settings.text.context
        self.name = decoder.name
        self._vision, self._decoder, self._head, self._texts = vision, decoder, head, texts

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> LightModel:
        """The line model of a folder that `save_pretrained` wrote.

        Args:
            folder: with configuration, weights, tokenizer and processor.
            threads: that share the work; by default OMP_NUM_THREADS, or as many as there are processors.

        Raises:
            CheckpointError: if anything is missing, broken, or does not fit.
            NativeError: if the kernels are not there, do not run on this processor, or do not compute this
                checkpoint, which PyTorch may.
        """
        settings = LightSettings.read(folder)
        threads = threads or default_threads()
        with TensorFile(weights_file(folder)) as file:
            expected = expected_shapes(settings)
            check_shapes(file, expected)
            settings = replace(settings, weights=count_weights(expected))
            vision = LightVision(settings, file.read, threads)
            embeddings = file.read(f"{TEXT}.embed_tokens.weight")
            matrix = embeddings if settings.tied else file.read("lm_head.weight")
            head = Head(PackedMatrix.of(matrix), threads)
            own = None if settings.tied else embeddings
            decoder = LightDecoder(settings.text, file.read, head, own, threads=threads)
        return cls(settings, vision, decoder, head, TokenTexts.read(folder))

    def prompt_length(self, width: int) -> int:
        """The tokens of a line's prompt, its image's included.

        Raises:
            InputError: for a line that is too wide.
        """
        return self._vision.columns(width) + 2

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens left out; bytes that make no character are U+FFFD."""
        return self._texts(ids)

    def read(
        self,
        images: Sequence[NDArray[np.uint8]],
        max_new_tokens: Sequence[int],
        *,
        guards: Sequence[RowGuard] | None = None,
        drafts: bool = True,
    ) -> list[LineReading]:
        """Reads lines, the likeliest ids of each.

        Args:
            images: gray, (height, width) each, of the height that the checkpoint reads.
            max_new_tokens: a limit for each line.
            guards: one per line; they see what is decoded step by step.
            drafts: whether to let the CTC branch, if there is one, read first.

        Raises:
            InputError: for a line of another height, or too wide.
            ContextError: for a line and an answer beyond the model's positions.
            NativeError: if memory does not suffice.
        """
        if len(images) != len(max_new_tokens) or (guards is not None and len(guards) != len(images)):
            raise ValueError(f"{len(images)} lines have {len(max_new_tokens)} limits")
        readings: list[LineReading] = []
        for first in range(0, len(images), LINES_AT_ONCE):
            part = slice(first, first + LINES_AT_ONCE)
            lines = _Lines(
                self._vision.encode(images[part]),
                max_new_tokens[part],
                None if guards is None else guards[part],
                self.settings,
                self._decoder,
                self._head,
                drafts=drafts,
            )
            readings += read_batch(lines)
        return readings


def default_threads() -> int:
    """How many threads share the work: what the environment says, or one for each processor that is ours."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else processors()


class _Lines:
    """A `vary.engine.lines.LineBatch` of encoded lines."""

    def __init__(
        self,
        encoded: Sequence[Encoded],
        limits: Sequence[int],
        guards: Sequence[RowGuard] | None,
        settings: LightSettings,
        decoder: LightDecoder,
        head: Head,
        *,
        drafts: bool,
    ) -> None:
        tokens = settings.tokens
        self.limits, self.guards, self.decoder, self.drafts = limits, guards, decoder, drafts
        self.eos_ids = tokens.ends
        self.suppressed: Sequence[int] = tokens.suppressed
        self.end, self.blank = tokens.end, tokens.blank
        self._marks = (tokens.image_start, tokens.image_end)
        self._images = [line.tokens for line in encoded]
        frames = [line.frames for line in encoded if line.frames is not None]
        never = [tokens.image, *self._marks, self.end]
        self.frames = _Frames(frames, head, never) if frames else None

    def prompts(self) -> list[Floats]:
        """The embeddings (T, C) of each line's prompt: the image between its borders."""
        start, end = (self.decoder.embed([mark]) for mark in self._marks)
        return [np.concatenate([start, image, end]) for image in self._images]

    def decode(self) -> list[Generation]:
        """Decodes the lines from nothing."""
        prompts = []
        for row, embeddings in enumerate(self.prompts()):
            limit = min(self.limits[row], max(1, (self.decoder.context or 0) - len(embeddings)))
            prompts.append(Prompt(embeddings, limit, guard=None if self.guards is None else self.guards[row]))
        answers = dict(
            decode(
                self.decoder,
                prompts,
                self.eos_ids,
                max_rows=len(prompts),
                suppressed=self.suppressed,
                draft_cost=self.decoder.token_cost,
            )
        )
        return [finished(answers[row], self.eos_ids) for row in range(len(prompts))]


class _Frames:
    """`vary.engine.ctc.FrameScores` of some lines' frames (frames, hidden) each."""

    def __init__(self, frames: Sequence[Floats], head: Head, never: Sequence[int]) -> None:
        self._head, self._never, self._frames = head, never, frames
        best, totals = head.survey(np.concatenate(frames), never)
        ends = np.cumsum([len(line) for line in frames])[:-1]
        self.paths: list[list[int]] = [path.tolist() for path in np.split(best, ends)]
        self._totals = np.split(totals, ends)

    def columns(self, line: int, ids: Sequence[int]) -> Floats:
        """The log-probabilities (frames, len(ids)) of some ids in a line."""
        table = self._head.scores(self._frames[line], ids) - self._totals[line][:, None]
        if never := [place for place, token in enumerate(ids) if token in self._never]:
            table[:, never] = -np.inf
        return table
