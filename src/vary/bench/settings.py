"""What a benchmark is asked to do, and who takes part: contestants times precisions, and who is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vary.bench.contestants.protocol import DTYPES
from vary.bench.contestants.registry import CONTESTANTS
from vary.bench.contestants.tesseract import Tesseract
from vary.bench.contestants.vary import NATIVE
from vary.bench.names import PEERS, PHASES, VISIONS_OF_A_CPU
from vary.bench.orders import Subject
from vary.bench.shapes import DecoderSize
from vary.errors import VaryError, did_you_mean
from vary.model.configuration import VaryConfig

__all__ = ["BenchSettings", "Entrant", "Missing", "entrants"]

OVERHEAD = 700_000_000
"""Bytes of a process with torch and its libraries, before any weights."""
BUILDING = 2.8
"""A peer that compiles a graph needs so many times its weights meanwhile."""
ENCODING, FUSED = 4_000_000_000, 1_200_000_000
"""Bytes of activations of a page where attention is written out, as the library does, and in our networks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSettings:
    """A benchmark.

    Attributes:
        subject: model, device and threads.
        against: peers by name.
        phases: of `PHASES`.
        dtypes: float types of vary's weights; Transformers gets them, and bfloat16 on a CPU.
        integers: precisions such as `int4`, `int8-g64`.
        visions: precisions of our own kernels for the vision vocabulary network, such as `int16`; the first
            one that can be used stands beside decoders with integer weights.
        repeat: how often everything is measured, in turns.
        images: how many pages are encoded at once, one measurement each.
        pages: how many pages are read at the same time, in the phase of that name.
        prompt, answer: tokens of a page's prompt with its image, and of its answer.
        verify: tokens of a step, beside 1, as when a draft is verified.
        sequences: how many are decoded at a time, beside 1.
        steps: of decoding in a measurement.
        limit: seconds that one measurement with its repetitions may take.
    """

    subject: Subject
    against: Sequence[str] = ()
    phases: Sequence[str] = PHASES
    dtypes: Sequence[str] = ("float32",)
    integers: Sequence[str] = ("int4", "int8")
    visions: Sequence[str] = VISIONS_OF_A_CPU
    repeat: int = 5
    images: Sequence[int] = (1,)
    pages: int = 16
    prompt: int = 300
    answer: int = 719
    verify: Sequence[int] = (4, 8)
    sequences: Sequence[int] = (4, 16)
    steps: int = 16
    limit: float = 300.0

    @property
    def encoder_dtype(self) -> str:
        """Of the vision branches beside integer weights, where no kernels of ours can compute them."""
        return next(iter(self.dtypes), "float32" if self.subject.device == "cpu" else "bfloat16")

    def __post_init__(self) -> None:
        for names, known in ((self.against, PEERS), (self.phases, PHASES), (self.dtypes, tuple(DTYPES))):
            for name in names:
                if name not in known:
                    raise VaryError(
                        f"'{name}' is not known; there are {', '.join(known)}{did_you_mean(name, known)}"
                    )


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant in one precision.

    Attributes:
        encoder, decoder: the precisions of its parts; "" for a part that it does not have.
    """

    contestant: str
    label: str
    encoder: str
    decoder: str

    @property
    def precision(self) -> str:
        return self.decoder or self.encoder

    @property
    def packed(self) -> bool:
        """Whether the decoder's weights are integers."""
        return bool(self.decoder) and self.decoder not in DTYPES

    def memory(self, size: DecoderSize, encoder_weights: int, tokens: int, parts: Sequence[str]) -> int:
        """Bytes that its process needs at most, roughly: weights, caches of so many tokens, activations."""
        total = OVERHEAD
        if "decoder" in parts and self.decoder:
            wide = 4 if self.packed else DTYPES[self.decoder].itemsize
            total += tokens * 2 * size.layers * size.key_value_heads * size.head_width * wide
            if self.packed:
                bits = 5 if self.decoder.startswith("int4") else 9
                total += int(
                    size.read_per_token * bits / 8 * (BUILDING if self.contestant != "vary" else 1.2)
                )
            else:
                total += (size.read_per_token + size.vocabulary * size.width) * wide
        if "encoder" in parts and self.encoder:
            total += encoder_weights * (DTYPES[self.encoder].itemsize if self.encoder in DTYPES else 6)
            activations = FUSED if self.contestant == "vary" else ENCODING
            total += activations if encoder_weights > 100_000_000 else activations // 40
        return total


@dataclass(frozen=True, slots=True)
class Missing:
    """What was asked for and is not measured: why, and the line that installs it or ""."""

    label: str
    reason: str
    install: str = ""


@dataclass(slots=True)
class _Field:
    found: list[Entrant] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def entrants(settings: BenchSettings, config: VaryConfig) -> tuple[list[Entrant], list[Missing]]:
    """Everyone who can be measured, vary first and its smallest weights first of all; and everyone else."""
    field_ = _Field()
    ours = CONTESTANTS["vary"]
    for precision in (f"{NATIVE}{vision}" for vision in settings.visions):
        label = ours.label(precision)
        if reason := ours.refusal(config, precision, _kind(settings)):
            field_.missing.append(Missing(label, reason))
        else:
            field_.found.append(Entrant("vary", label, precision, ""))
    _add(field_, "vary", (*settings.integers, *settings.dtypes), settings, config)
    for name in PEERS:
        if name not in settings.against:
            continue
        if name == "tesseract":
            if line := Tesseract().missing():
                field_.missing.append(Missing(name, "the program is not installed", line))
            continue
        wanted = _peer_dtypes(settings) if name == "transformers" else settings.integers
        _add(field_, name, wanted, settings, config)
    return field_.found, field_.missing


def _kind(settings: BenchSettings) -> str:
    """The kind of the device, `cuda` of `cuda:1`."""
    return settings.subject.device.partition(":")[0]


def _peer_dtypes(settings: BenchSettings) -> tuple[str, ...]:
    """The float types of Transformers: on a CPU the half one that most people load too."""
    extra = ("bfloat16",) if settings.subject.device == "cpu" else ()
    return tuple(dict.fromkeys((*extra, *settings.dtypes)))


def _add(
    field_: _Field, name: str, precisions: Sequence[str], settings: BenchSettings, config: VaryConfig
) -> None:
    """A contestant in its precisions."""
    contestant = CONTESTANTS[name]
    if line := contestant.missing():
        field_.missing.append(Missing(name, "not installed", line))
        return
    for precision in precisions:
        if not contestant.measures(precision):
            field_.missing.append(Missing(f"{name} {precision}", "it has no such weights"))
            continue
        label = contestant.label(precision)
        if reason := contestant.refusal(config, precision, _kind(settings)):
            field_.missing.append(Missing(label, reason))
            continue
        encoder = precision if precision in DTYPES else ""
        if name == "vary" and not encoder:
            encoder = next((one.encoder for one in field_.found if not one.decoder), settings.encoder_dtype)
        if name == "transformers" and (reason := _no_encoder(config)):
            field_.missing.append(Missing(f"{label}, encoder", reason))
            encoder = ""
        field_.found.append(Entrant(name, label, encoder, precision))


def _no_encoder(config: VaryConfig) -> str:
    """Why the library's encoder cannot be this vision vocabulary; empty where it can."""
    from vary.bench.contestants.transformers import same_network

    if same_network(config.vision_vocabulary_config):
        return ""
    return "the library has no encoder of this shape (stem, positions or width)"
