"""A checkpoint's model in PyTorch: every checkpoint, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import torch

from vary.backends import Request, Traits
from vary.backends.answers import RememberedTexts, expected_characters, line_limit, room_for_answer
from vary.engine.decoders.interface import Decoder
from vary.engine.decoding import DraftUse
from vary.engine.devices import resolve_device
from vary.engine.drafts import TextDraft
from vary.engine.fast_parts import use_fast_parts
from vary.engine.generation import context_length, generate
from vary.engine.guards import LoopFinding
from vary.engine.lines import LineReading, read_lines
from vary.engine.streaming import text_guard
from vary.errors import DeviceError
from vary.inputs.windows import Window
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text
from vary.quantized import check_memory, load_quantized
from vary.weights.loading import as_dtype, load_checkpoint, resolve_checkpoint

__all__ = ["PyTorchBackend"]

PAGE_TOKENS = 4096
"""New tokens for a whole page, unless the language model's positions end before."""


class PyTorchBackend:
    """Reads windows with a model of the library's classes.

    Args:
        model, processor: of the checkpoint.
        name: of the checkpoint, for messages.
        device: where it computes.
        decoder: what reads the tokens instead of the library's modules.
    """

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        processor: VaryProcessor,
        name: str,
        device: torch.device,
        decoder: Decoder | None = None,
    ) -> None:
        self.model = model.eval().to(device)
        self.processor = processor
        self.name = name
        self.device = device
        self.decoder = decoder
        self.vision = "PyTorch"
        self._texts = RememberedTexts(self._text_of)

    @classmethod
    def load(
        cls,
        checkpoint: str | PathLike[str],
        name: str | None = None,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype | str | None = None,
        tokenizer: str | PathLike[str] | None = None,
        quantize: str | None = None,
    ) -> PyTorchBackend:
        """Loads a checkpoint; arguments and errors as in `vary.reader.Reader.load`."""
        place = resolve_device(device)
        folder = resolve_checkpoint(checkpoint)
        name = name or folder.name
        kind = as_dtype(dtype) or (torch.float32 if place.type == "cpu" else None)
        check_memory(folder, name, place, kind, quantize)
        if quantize is None:
            model, processor = load_checkpoint(folder, dtype=kind, tokenizer=tokenizer)
            return cls(model, processor, name, place).with_fast_parts()
        parts = load_quantized(folder, quantize=quantize, dtype=kind or torch.float32, tokenizer=tokenizer)
        return cls(parts[0], parts[1], name, place, parts[2]).with_fast_parts()

    def with_fast_parts(self) -> PyTorchBackend:
        """Takes the fastest implementations that run on its device, see `vary.engine.fast_parts`."""
        self.vision, self.decoder = use_fast_parts(self.model, self.decoder)
        return self

    @property
    def traits(self) -> Traits:
        config = self.model.config
        return Traits(
            tasks=tuple(config.tasks),
            languages=tuple(config.languages),
            prompts=dict(config.prompts),
            version=config.checkpoint_version,
            confidence=config.confidence,
            line_size=config.line_size,
            weights=sum(weight.numel() for weight in self.model.parameters()),
        )

    def parts(self) -> dict[str, str]:
        return {
            "device": str(self.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "vision": self.vision,
            "decoder": "PyTorch" if self.decoder is None else self.decoder.name,
        }

    def check_layout(self, name: str | None) -> str | None:
        return self.processor.check_layout(name)

    def encode(self, text: str) -> list[int]:
        return encode_text(self.processor.tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._texts(ids)

    def _text_of(self, ids: Sequence[int]) -> str:
        tokenizer: Any = self.processor.tokenizer
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def read(
        self,
        windows: Sequence[Window],
        request: Request,
        drafts: Sequence[str],
        use: list[DraftUse],
    ) -> list[LineReading]:
        """As `Backend.read`: where an accelerator's memory does not suffice half of the windows at a time."""
        try:
            return self._read(windows, request, drafts, use)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                raise DeviceError(
                    f"{self.device} has not enough memory for a single window of {self.name} "
                    f"({str(error).splitlines()[0]}); free some, or load it with --dtype bfloat16"
                ) from error
        half = len(windows) // 2  # read outside of the handler, which keeps what did not fit
        return [
            reading
            for part in (slice(half), slice(half, None))
            for reading in self.read(windows[part], request, drafts[part], use)
        ]

    def _read(
        self, windows: Sequence[Window], request: Request, drafts: Sequence[str], use: list[DraftUse]
    ) -> list[LineReading]:
        lines = self.model.config.window == "lines"
        images = [window.image for window in windows]
        query = "" if lines else request.task.prompt
        inputs = self.processor.build_inputs(images, query, layout=request.layout).to(self.device)
        room = room_for_answer(self.name, context_length(self.model), inputs["input_ids"].shape[1])
        widths = [image.shape[1] for image in images]
        most = [line_limit(width) if lines else PAGE_TOKENS for width in widths]
        limits = [min(room, request.max_new_tokens or limit) for limit in most]
        guards: list[Callable[[Sequence[int]], LoopFinding | None]] = [
            text_guard(self.decode, expected_characters(width) if lines else None) for width in widths
        ]
        if lines:
            return read_lines(
                self.model, inputs, limits, sampling=request.sampling, guards=guards, decoder=self.decoder
            )
        answers = generate(
            self.model,
            inputs,
            limits,
            sampling=request.sampling,
            guards=guards,
            answer_header=self.processor.answer_header(request.layout),
            decoder=self.decoder,
            drafts=[TextDraft(text, self.encode, self.decode) if text else None for text in drafts],
        )
        use += [
            answer.draft
            for answer, text in zip(answers, drafts, strict=True)
            if text and answer.draft is not None
        ]
        return [
            LineReading(answer, [math.exp(min(0.0, p)) for p in answer.logprobs], None, 0)
            for answer in answers
        ]
