"""What is timed: a page through the vision branches, a prompt, steps of decoding, and whole pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vary.bench.contestants.protocol import Decoding, Encoding
from vary.bench.limits import synchronise
from vary.engine.continuous import ENCODED
from vary.errors import VaryError
from vary.model.configuration import VaryConfig

__all__ = ["MARGIN", "Phases", "random_pixels"]

TABLE, SPREAD = 512, 0.02
"""Rows of embeddings that chosen tokens are looked up in, and their spread."""
MARGIN = 64
"""Tokens by which a sequence may grow, at least, while steps are timed."""
SETTLING = 2
"""Times that images are encoded before an accelerator is timed."""


def random_pixels(config: VaryConfig, images: int, seed: int, device: torch.device) -> dict[str, Tensor]:
    """Images as the model's `get_image_features` takes them, with normally distributed pixels."""
    generator = torch.Generator().manual_seed(seed)
    vision, clip = config.vision_vocabulary_config, config.clip_config
    shapes = {"pixel_values": (images, vision.num_channels, vision.height, vision.width)}
    if clip is not None:
        shapes["pixel_values_clip"] = (images, clip.num_channels, clip.image_size, clip.image_size)
    pixels = {name: torch.randn(shape, generator=generator).to(device) for name, shape in shapes.items()}
    if vision.variable_width:
        pixels["pixel_widths"] = torch.full((images,), vision.width, device=device)
    return pixels


@dataclass(slots=True)
class Phases:
    """One contestant, ready to be timed; every method returns seconds.

    Attributes:
        config: the whole model's.
        device: where it runs, for waiting for it.
        encoding, decoding: its parts; None for one that it does not have here.
    """

    config: VaryConfig
    device: torch.device
    encoding: Encoding | None
    decoding: Decoding | None
    seed: int = 0
    _pixels: dict[str, Tensor] | None = None
    _images: int = 0
    _held: tuple[int, int] = (0, 0)
    _room: int = 0
    _embeddings: Tensor | None = None

    @torch.inference_mode()
    def encode(self, images: int) -> float:
        """Some images at once."""
        encoding, pixels = self._encoder(), self._drawn(images)
        return self._seconds(lambda: encoding.encode(pixels))

    @torch.inference_mode()
    def prefill(self, tokens: int) -> float:
        """A prompt of so many tokens into an empty cache, the last one's scores."""
        decoding = self._decoder()
        decoding.start(1, tokens)
        self._held = (0, 0)
        rows = self._rows(1, tokens)
        return self._seconds(lambda: decoding.read(rows, 1))

    @torch.inference_mode()
    def decode(self, context: int, sequences: int, tokens: int, steps: int) -> float:
        """A step, as the mean of `steps`: each reads `tokens` new ones a sequence and chooses the likeliest.

        The first step comes behind `context` tokens; what was held of them from the last call stays.
        """
        decoding = self._decoder()
        room = context + max(MARGIN, tokens * (steps + 1))
        if self._held != (context, sequences) or room > self._room:
            decoding.start(sequences, room)
            decoding.read(self._rows(sequences, context), 1)
            self._held, self._room = (context, sequences), room
        table = self._table()
        new = self._rows(sequences, tokens)

        def step() -> None:
            nonlocal new
            chosen = decoding.read(new, tokens).argmax(-1)  # (sequences, tokens)
            new = table[chosen % TABLE]

        decoding.cut(context)
        step()  # not timed: caches and allocations settle

        def several() -> None:
            if tokens == 1 and decoding.run(steps):
                return
            for _ in range(steps):
                step()

        seconds = self._seconds(several)
        decoding.cut(context)
        return seconds / steps

    @torch.inference_mode()
    def page(self, prompt: int, tokens: int) -> float:
        """A whole page: an image, a prompt with its image tokens, an answer token by token."""
        return self.pages(1, prompt, tokens)

    @torch.inference_mode()
    def pages(self, pages: int, prompt: int, tokens: int) -> float:
        """Whole pages, whose answers of one length are written at the same time."""
        decoding, encoding, table = self._decoder(), self._encoder(), self._table()
        pixels = self._drawn(min(pages, ENCODED))
        decoding.start(pages, prompt + tokens)
        self._held = (0, 0)

        def read() -> None:
            rows = self._rows(pages, prompt)
            for first in range(0, pages, ENCODED):
                images = encoding.encode(pixels)[: pages - first, :prompt].float()
                rows[first : first + len(images), : images.shape[1]] = images
            chosen = decoding.read(rows, 1).argmax(-1)
            if decoding.run(tokens - 1):
                return
            for _ in range(tokens - 1):
                chosen = decoding.read(table[chosen % TABLE], 1).argmax(-1)

        return self._seconds(read)

    def _drawn(self, images: int) -> dict[str, Tensor]:
        """So many images; what is compiled or recorded for their number is there when they are timed."""
        if self._pixels is None or self._images != images:
            self._pixels = random_pixels(self.config, images, self.seed, self.device)
            self._images = images
            for _ in range(0 if self.device.type == "cpu" else SETTLING):
                self._encoder().encode(self._pixels)
        return self._pixels

    def _encoder(self) -> Encoding:
        if self.encoding is None:
            raise VaryError("this contestant has no vision branches")
        return self.encoding

    def _decoder(self) -> Decoding:
        if self.decoding is None:
            raise VaryError("this contestant has no language model")
        return self.decoding

    def _rows(self, sequences: int, tokens: int) -> Tensor:
        """Embeddings (sequences, tokens, hidden): rows of the table, one after the other."""
        index = torch.arange(sequences * tokens, device=self.device).view(sequences, tokens) % TABLE
        return self._table()[index]

    def _table(self) -> Tensor:
        if self._embeddings is None:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = torch.randn(TABLE, self.config.text_config.hidden_size, generator=generator)
            self._embeddings = (drawn * SPREAD).to(self.device)
        return self._embeddings

    def _seconds(self, work: Callable[[], object]) -> float:
        synchronise(self.device)
        started = time.perf_counter()
        work()
        synchronise(self.device)
        return time.perf_counter() - started
