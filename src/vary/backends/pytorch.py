"""A checkpoint's model in PyTorch: every checkpoint, on every device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from transformers import BatchFeature

from vary.backends import PageReader, Request, Traits
from vary.backends.answers import RememberedTexts, expected_characters, line_limit, room_for_answer
from vary.backends.pages import in_halves, page_reader
from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.native import NativeDecoder
from vary.engine.decoding import RowGuard
from vary.engine.devices import resolve_device
from vary.engine.fast_parts import use_fast_parts
from vary.engine.generation import context_length, runs_here
from vary.engine.grouped_linear import grouped_linears
from vary.engine.lines import LineReading, read_lines
from vary.engine.memory import available_memory
from vary.engine.offload import is_offloaded, offload_weights
from vary.engine.sampling import Sampling
from vary.engine.streaming import text_guard
from vary.errors import DeviceError
from vary.inputs.windows import Window
from vary.memory import check_memory
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text
from vary.unrounded import load_unrounded
from vary.weight_only import AtPrecision, load_at_precision
from vary.weights.loading import as_dtype, load_checkpoint, resolve_checkpoint

__all__ = ["PyTorchBackend"]

DEFAULT = Sampling()
PAGE_TOKENS = 4096
"""New tokens for a whole page, unless the language model's positions end before."""
GPU_PAGES, NATIVE_PAGES = 8, 4
"""Whole pages that are read together: each step reads the weights once for all of them."""


class PyTorchBackend:
    """Reads windows with a model of the library's classes.

    Args:
        model, processor: of the checkpoint.
        name: of the checkpoint, for messages.
        device: where it computes.
        decoder: what reads the tokens instead of the library's modules.
        offload: whether the weights stay in main memory; see `vary.engine.offload`.

    Attributes:
        notes: what a user should know about how this checkpoint runs here.
    """

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        processor: VaryProcessor,
        name: str,
        device: torch.device,
        decoder: Decoder | None = None,
        *,
        offload: bool = False,
    ) -> None:
        self.model = model.eval()
        if offload:
            offload_weights(model, device)
        else:
            model.to(device)
        self.processor = processor
        self.name = name
        self.device = device
        self.decoder = decoder
        self.vision = "PyTorch"
        self.notes: tuple[str, ...] = ()
        self._plain_decoder = "PyTorch"
        self._rounded = isinstance(decoder, NativeDecoder) and decoder.precision != "float32"
        self._restore: Callable[[], VaryForConditionalGeneration] | None = None
        self._whole: VaryForConditionalGeneration | None = None
        self._restoring = threading.Lock()
        self._where = " with offloaded weights" if offload else ""
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
        offload: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> PyTorchBackend:
        """Loads a checkpoint; arguments and errors as in `vary.reader.Reader.load`.

        Args:
            settings: what a file of weights without a configuration does not tell, as in
                `vary.weights.loading.load_checkpoint`.
        """
        place = resolve_device(device)
        folder = resolve_checkpoint(checkpoint)
        name = name or folder.name
        kind = as_dtype(dtype) or (torch.float32 if place.type == "cpu" else None)
        check_memory(folder, name, place, kind, quantize, offload=offload, settings=settings)
        if quantize is not None:
            found = load_at_precision(
                folder, place, quantize=quantize, dtype=kind, tokenizer=tokenizer, settings=settings
            )
        elif offload:
            found = AtPrecision(*load_checkpoint(folder, dtype=kind, tokenizer=tokenizer, settings=settings))
        else:
            found = load_unrounded(folder, place, dtype=kind, tokenizer=tokenizer, settings=settings)
        backend = cls(found.model, found.processor, name, place, found.decoder, offload=offload)
        backend.notes = found.notes
        backend._plain_decoder, backend._rounded, backend._restore = found.name, found.rounded, found.restore
        return backend.with_fast_parts()

    def with_fast_parts(self) -> PyTorchBackend:
        """Takes the fastest implementations that run on its device, see `vary.engine.fast_parts`."""
        self.vision, self.decoder = use_fast_parts(self.model, self.decoder, rounded=self._rounded)
        return self

    def whole_model(self) -> VaryForConditionalGeneration:
        """The model with its language model's own modules, which come now if a decoder did without them.

        With rounded weights of the native kernels it has none.

        Raises:
            DeviceError: where there is no memory for them.
        """
        if self._restore is None:
            return self.model
        with self._restoring:  # others go on with the model that they have
            if self._whole is None:
                self._whole = self._restore()
            return self._whole

    def computing(self, sampling: Sampling) -> tuple[VaryForConditionalGeneration, Decoder | None]:
        """The model and the decoder that follow a sampling; None for the library's.

        Raises:
            DeviceError: as `whole_model`.
        """
        if self._restore is None or self._followed(sampling):
            return self.model, self.decoder
        return self.whole_model(), None

    def _followed(self, sampling: Sampling) -> bool:
        """Whether what decodes here by default follows a sampling."""
        return runs_here(self.model, sampling, self.decoder)

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
            weights=sum(weight.numel() for weight in self.model.parameters())
            + sum(layer.in_features * layer.out_features for layer in grouped_linears(self.model))
            + (self.decoder.weights if isinstance(self.decoder, NativeDecoder) else 0),
        )

    def pages_at_once(self, sampling: Sampling) -> int:
        """As `Backend.pages_at_once`; PyTorch on a CPU gains nothing from several."""
        if self.device.type == "cuda":
            return GPU_PAGES
        if not isinstance(self.decoder, NativeDecoder) or not self._followed(sampling):
            return 1
        free = available_memory(self.device)
        longest = self.decoder.token_bytes * (self.decoder.context or PAGE_TOKENS)
        return NATIVE_PAGES if free is None else max(1, min(NATIVE_PAGES, free // longest))

    def parts(self, sampling: Sampling = DEFAULT) -> dict[str, str]:
        ours = self._restore is None or self._followed(sampling)
        decoder = self._plain_decoder if self.decoder is None or not ours else self.decoder.name
        return {
            "device": str(self.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "vision": f"{self.vision}{self._where}",
            "decoder": f"{decoder}{self._where}",
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

    def read_lines(self, windows: Sequence[Window], request: Request) -> list[LineReading]:
        """As `Backend.read_lines`: where an accelerator's memory does not suffice, by halves."""
        return in_halves(lambda part: self._read_lines(part, request), windows, self.too_small)

    def _read_lines(self, windows: Sequence[Window], request: Request) -> list[LineReading]:
        model, decoder = self.computing(request.sampling)
        images = [window.image for window in windows]
        widths = [image.shape[1] for image in images]
        inputs = self.processor.build_inputs(images, layout=request.layout).to(self.device)
        room = room_for_answer(self.name, context_length(self.model), inputs["input_ids"].shape[1])
        return read_lines(
            model,
            inputs,
            [min(room, request.max_new_tokens or line_limit(width)) for width in widths],
            sampling=request.sampling,
            guards=[text_guard(self.decode, expected_characters(width)) for width in widths],
            decoder=decoder,
        )

    def page_reader(self, request: Request, batch_size: int) -> PageReader:
        """As `Backend.page_reader`."""
        return page_reader(self, request, batch_size)

    def page_inputs(
        self, windows: Sequence[Window], request: Request
    ) -> tuple[BatchFeature, list[int], list[RowGuard]]:
        """The prompts of some pages, on the device, with the limits and guards of their answers."""
        images = [window.image for window in windows]
        inputs = self.processor.build_inputs(images, request.task.prompt, layout=request.layout)
        room = room_for_answer(self.name, context_length(self.model), inputs["input_ids"].shape[1])
        limit = min(room, request.max_new_tokens or PAGE_TOKENS)
        guards = [text_guard(self.decode) for _ in windows]
        return inputs.to(self.device), [limit] * len(windows), guards

    def too_small(self, error: torch.OutOfMemoryError) -> DeviceError:
        """What is said where memory does not suffice for a single window."""
        smaller = "--dtype bfloat16 or --quantize int4" + (
            "" if is_offloaded(self.model) else ", or --offload"
        )
        return DeviceError(
            f"{self.device} has not enough memory for a single window of {self.name} "
            f"({str(error).splitlines()[0]}); free some, or load it with {smaller}"
        )
