"""A line model without PyTorch: loaded in a tenth of the time, it reads the same on a CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vary.backends import PageReader, Request, Traits
from vary.backends.answers import RememberedTexts, expected_characters, line_limit, room_for_answer
from vary.engine.light import LightModel
from vary.engine.lines import LineReading
from vary.engine.sampling import Sampling
from vary.engine.streaming import text_guard
from vary.errors import NativeError
from vary.inputs.windows import Window

__all__ = ["LightBackend", "may_have_an_accelerator"]

DEVICES = Path("/dev")
ACCELERATOR_FILES = ("nvidia0", "nvidiactl", "kfd", "dxg", "davinci_manager")
"""Of `DEVICES`: NVIDIA's, AMD's, those of Windows' subsystem, Ascend's."""


def may_have_an_accelerator() -> bool:
    """Whether PyTorch could find another device than the CPU; it is not asked, for that takes seconds."""
    if not sys.platform.startswith("linux") or any((DEVICES / name).exists() for name in ACCELERATOR_FILES):
        return True
    try:
        return "xpu" in version("torch") or find_spec("torch_npu") is not None
    except PackageNotFoundError:
        return True


class LightBackend:
    """Reads lines with a model of NumPy and native kernels, plainly (see `Request.plain`)."""

    notes = ()

    def __init__(self, model: LightModel, folder: Path, name: str) -> None:
        self.model, self.folder, self.name = model, folder, name
        self._texts = RememberedTexts(model.decode)

    @classmethod
    def load(cls, folder: Path, name: str) -> LightBackend:
        """Loads a checkpoint.

        Raises:
            NativeError: if the kernels are not there, or do not compute this checkpoint.
            CheckpointError: if it is broken.
        """
        return cls(LightModel.load(folder), folder, name)

    @property
    def traits(self) -> Traits:
        settings = self.model.settings
        return Traits(
            tasks=settings.tasks,
            languages=settings.languages,
            prompts=settings.prompts,
            version=settings.version,
            confidence=settings.confidence,
            line_size=settings.line_size,
            weights=settings.weights,
        )

    def pages_at_once(self, sampling: Sampling) -> int:
        return 1

    def parts(self, sampling: Sampling | None = None) -> dict[str, str]:
        return {"device": "cpu", "dtype": "float32", "vision": self.model.name, "decoder": self.model.name}

    def check_layout(self, name: str | None) -> str | None:
        if name is not None:
            raise NativeError("layouts are the processor's")
        return name

    def encode(self, text: str) -> list[int]:
        raise NativeError("texts are encoded by the library's tokenizer")

    def decode(self, ids: Sequence[int]) -> str:
        return self._texts(ids)

    def page_reader(self, request: Request, batch_size: int) -> PageReader:
        raise NativeError("whole pages are read by PyTorch")

    def read_lines(self, windows: Sequence[Window], request: Request) -> list[LineReading]:
        images = [window.image for window in windows]
        widths = [image.shape[1] for image in images]
        room = room_for_answer(self.name, self.model.context, self.model.prompt_length(max(widths)))
        limits = [min(room, request.max_new_tokens or line_limit(width)) for width in widths]
        guards = [text_guard(self.decode, expected_characters(width)) for width in widths]
        return self.model.read(images, limits, guards=guards)
