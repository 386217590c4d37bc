"""Answers as MindOCR's settings ask for them: the checkpoint loaded, held to the settings, and asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from vary.conversation import Conversation, check_chat
from vary.engine.devices import resolve_device
from vary.engine.offload import check_offload
from vary.engine.sampling import Sampling
from vary.errors import CheckpointError, SettingsError
from vary.inputs.page_image import PageImage
from vary.inputs.pages import Source
from vary.mindocr.settings import Settings, find_path
from vary.model.configuration import VaryConfig
from vary.quantized import kernels_refuse
from vary.reader import Reader
from vary.weights.fetching.store import find
from vary.weights.formats.processors import TIKTOKEN
from vary.weights.loading import resolve_checkpoint
from vary.weights.sources import is_ours, open_source

__all__ = ["CHECKED", "Predictor", "check_model", "sampling"]

LAYOUT = "mindocr"
QWEN = "qwen2"
"""The library's class that holds Qwen-1's weights."""
TURN_END = "<|im_end|>"
SEED = 0
"""MindOCR seeds its draws with 0 before every answer."""

CHECKED: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "model.hidden_size": lambda text: text.hidden_size,
        "model.num_layers": lambda text: text.num_hidden_layers,
        "model.num_heads": lambda text: text.num_attention_heads,
        "model.n_kv_heads": lambda text: text.num_key_value_heads,
        "model.kv_channels": lambda text: (
            getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        ),
        "model.vocab_size": lambda text: text.vocab_size,
        "model.intermediate_size": lambda text: text.intermediate_size,
        "model.rms_norm_eps": lambda text: text.rms_norm_eps,
        "model.rotary_emb_base": lambda text: text.rope_parameters["rope_theta"],
        "model.theta": lambda text: text.rope_parameters["rope_theta"],
    }
)
"""The `checked` keys, and where the configuration of the language model has their values."""

UNTOLD = {
    "model.num_heads": "num_attention_heads",
    "model.kv_channels": "kv_channels",
    "model.rms_norm_eps": "layer_norm_epsilon",
    "model.rotary_emb_base": "rotary_emb_base",
}
TOLD = {
    "model.hidden_size": "hidden_size",
    "model.num_layers": "num_hidden_layers",
    "model.vocab_size": "vocab_size",
    "model.intermediate_size": "intermediate_size",
}
"""Keys by Qwen's names of them: those that no tensor tells, and those that tensors do."""


class Predictor:
    """Asks one checkpoint about images, as the settings say.

    Args:
        reader: with the checkpoint; it belongs to this predictor, which sets how its answers end.
        settings: what the settings file says.
        layout: one of the checkpoint's prompt layouts.
        seed: of the draws, set anew for every answer.

    Raises:
        SettingsError: if the checkpoint is another than the settings describe.
        TaskError: if it takes no queries, or has no such layout.
    """

    def __init__(self, reader: Reader, settings: Settings, *, layout: str = LAYOUT, seed: int = SEED) -> None:
        check_chat(reader)
        model, _ = reader.computing(Sampling())
        check_model(settings, model.config)
        self.reader = reader
        self.settings = settings
        self.layout = reader.processor.check_layout(layout)
        self.seed = seed
        generation = model.generation_config
        if settings.stop_ids:
            generation.eos_token_id = self._stops()
        if not settings.use_past:
            generation.use_cache = False

    @classmethod
    def load(
        cls,
        settings: Settings,
        *,
        model: str | None = None,
        tokenizer: str | None = None,
        device: str = "auto",
        dtype: str | None = None,
        quantize: str | None = None,
        offload: bool = False,
        layout: str = LAYOUT,
        seed: int = SEED,
    ) -> Predictor:
        """Loads the checkpoint of the settings; `model`, `tokenizer` and `dtype` win over what they say.

        `device`, `quantize` and `offload` are those of `Reader.load`.

        Raises:
            CheckpointError: if the checkpoint or its tokenizer is missing or broken.
            DeviceError: if the device is not there, has not the memory, or is a CPU with `offload`.
            NativeError: for a precision that is not known, or that this model cannot have.
            SettingsError, TaskError: as the class.
        """
        place = resolve_device(device)  # a device that is not there is named before a checkpoint that is not
        if offload:
            check_offload(place)
        checkpoint = resolve_checkpoint(model) if model is not None else _named_checkpoint(settings)
        told = _told(settings, checkpoint)
        if quantize is not None:
            _check_followed(settings, open_source(checkpoint, settings=told).config, place, quantize)
        reader = Reader.load(
            checkpoint,
            device=device,
            dtype=dtype or settings.dtype,
            tokenizer=tokenizer if tokenizer is not None else _named_vocabulary(settings, checkpoint),
            quantize=quantize,
            offload=offload,
            settings=told,
        )
        return cls(reader, settings, layout=layout, seed=seed)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how this checkpoint runs here."""
        model, _ = self.reader.computing(Sampling())
        if self.reader.device.type == "cpu" and model.dtype == torch.float16:
            return (
                *self.reader.notes,
                "float16 is slow on most CPUs when an image is encoded; --dtype float32 is faster there and "
                "takes twice the memory",
            )
        return self.reader.notes

    def conversation(self, image: Source | PageImage) -> Conversation:
        """A conversation about an image, none of it asked yet."""
        return _BoundedConversation(
            self.reader,
            image,
            longest=self.settings.longest,
            layout=self.layout,
            sampling=sampling(self.settings, self.seed),
            max_new_tokens=self.settings.max_new_tokens,
        )

    def _stops(self) -> list[int]:
        """The tokens that end an answer.

        MindOCR stops at `eos_token_id` alone, <|endoftext|>.  Vary ends its answers with <|im_end|>, so there
        the model writes on after it, and the answer that MindOCR's own documentation shows is two in a row
        (the token between them is taken out of the text).  Here the first one is the answer.
        """
        end = self.reader.processor.tokenizer.get_added_vocab().get(TURN_END)
        return sorted({*self.settings.stop_ids, *([] if end is None else [end])})


class _BoundedConversation(Conversation):
    """A conversation that holds fewer tokens than the model could."""

    def __init__(self, *args: Any, longest: int, **options: Any) -> None:
        self._longest = longest
        super().__init__(*args, **options)

    @property
    def context_length(self) -> int | None:
        model_length = super().context_length
        return self._longest if model_length is None else min(self._longest, model_length)


def sampling(settings: Settings, seed: int = SEED) -> Sampling:
    """How tokens are chosen by the settings."""
    return Sampling(
        temperature=settings.temperature if settings.draws else 0.0,
        top_k=settings.top_k if settings.draws else 0,
        top_p=settings.top_p if settings.draws else 1.0,
        repetition_penalty=settings.repetition_penalty,
        num_beams=settings.num_beams,
        seed=seed if settings.draws else None,
    )


def check_model(settings: Settings, config: VaryConfig) -> None:
    """Raises SettingsError, with all that differs, if the settings are not those of a checkpoint."""
    text = config.text_config
    if text.model_type != QWEN:
        raise SettingsError(
            f"{settings.source}: model.name is VaryQwenForCausalLM, but the checkpoint's language model is "
            f"{text.model_type}; read with it by `vary read --model`"
        )
    wrong = []
    for name, (wanted, line) in settings.expected.items():
        found = CHECKED[name](text)
        if not math.isclose(wanted, found, rel_tol=1e-6):
            doubled = name == "model.intermediate_size" and wanted == 2 * found
            hint = "; Qwen's own configuration doubles it, this file does not" if doubled else ""
            wrong.append(f"line {line}: '{name}' is {wanted:g}, but the checkpoint has {found:g}{hint}")
    positions = text.max_position_embeddings
    if settings.context > positions:
        wrong.append(
            f"'model.seq_length' is {settings.context}, but the checkpoint has {positions} positions"
        )
    if beyond := [token for token in settings.stop_ids if token >= text.vocab_size]:
        wrong.append(
            f"'model.eos_token_id' is {beyond[0]}, but the checkpoint has {text.vocab_size} tokens, from 0 on"
        )
    if wrong:
        raise SettingsError(
            "\n  ".join([f"{settings.source}: these settings are of another checkpoint", *wrong])
        )


def _check_followed(settings: Settings, config: VaryConfig, device: torch.device, quantize: str) -> None:
    """Raises SettingsError for what the native kernels do not follow, before they pack the weights."""
    asked = [
        said
        for said, wanted in (
            (f"'model.num_beams' is {settings.num_beams}", settings.num_beams > 1),
            ("'model.use_past' is False", not settings.use_past),
        )
        if wanted
    ]
    if asked and kernels_refuse(config, device) is None:
        raise SettingsError(
            f"{settings.source}: {' and '.join(asked)}, which the native kernels that decode {quantize} "
            "weights do not follow; change it, or leave out --quantize"
        )


def _named_checkpoint(settings: Settings) -> Path:
    """The checkpoint that the settings name: a path, else a fetched one."""
    if not settings.checkpoint:
        raise CheckpointError(
            f"{settings.source}: no checkpoint is named; fill in checkpoint_name_or_path, or give --model"
        )
    found = find_path(settings.checkpoint, settings.source) or find(settings.checkpoint)
    if found is None:
        raise CheckpointError(
            f"{settings.source}: checkpoint_name_or_path is {settings.checkpoint}, and nothing of that name "
            "is here, beside that file or among the fetched weights; fill in the path of your weights, or "
            "give --model"
        )
    return found


def _named_vocabulary(settings: Settings, checkpoint: Path) -> Path | None:
    """The tokenizer that the settings name; None where it is not there and the checkpoint has its own."""
    if not settings.vocab_file:
        return None
    found = find_path(settings.vocab_file, settings.source)
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if is_ours(checkpoint) and (folder / "tokenizer.json").is_file():
        return None
    if found is None and not any((folder / name).is_file() for name in (TIKTOKEN, "tokenizer.json")):
        raise CheckpointError(
            f"{settings.source}: vocab_file is {settings.vocab_file}, and there is no such file, and no "
            f"{TIKTOKEN} beside the weights either; fill in its path, or give --tokenizer"
        )
    return found


def _told(settings: Settings, checkpoint: Path) -> dict[str, Any] | None:
    """What the settings say about a file of weights that has no configuration beside it, in Qwen's words.

    A `.ckpt` of MindOCR tells its sizes by its tensors, all but these; for the authors' `pytorch_model.bin`
    alone all are needed.
    """
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if (folder / "config.json").is_file():
        return None
    names = UNTOLD if checkpoint.suffix == ".ckpt" else {**UNTOLD, **TOLD}
    told = {theirs: settings.expected[name][0] for name, theirs in names.items() if name in settings.expected}
    if "intermediate_size" in told:
        told["intermediate_size"] *= 2
    return told
