"""What a line checkpoint's JSON files say, as far as reading lines needs it; the rest is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vary.engine.native.shapes import TextShape
from vary.engine.sampling import UNUSUAL
from vary.errors import CheckpointError, NativeError
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.checkpoint_files import read_json, read_text

__all__ = ["LightSettings", "PixelSettings", "TokenIds", "VisionSettings"]

PLAIN_BLOCKS = {
    "hidden_act": "gelu",
    "stem": "conv",
    "num_channels": 1,
    "variable_width": True,
    "use_absolute_position": False,
    "window_size": 0,
}
PLAIN_PIXELS = {"mode": "line", "do_rescale": True, "do_normalize": True}


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """The sizes of a vision vocabulary network for lines; fields as in `VisionVocabularyConfig`."""

    height: int
    width: int
    patch_size: int
    stem_channels: tuple[int, ...]
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    inner: int
    layer_norm_eps: float
    neck_channels: int
    merge_channels: tuple[int, ...]
    merge_strides: tuple[tuple[int, int], ...]
    ctc_frames: int

    @property
    def rows(self) -> int:
        """Rows of patches."""
        return self.height // self.patch_size

    @property
    def columns(self) -> int:
        """Columns of patches of the widest image."""
        return self.width // self.patch_size

    @classmethod
    def of(cls, file: Path, values: Mapping[str, Any]) -> VisionSettings:
        """The sizes in a configuration.

        Raises:
            CheckpointError: for values that are none.
            NativeError: for a network that is not computed here.
        """
        _check_plain(file, values, PLAIN_BLOCKS)
        size = values.get("image_size")
        strides = values.get("merge_strides")
        if not isinstance(size, list) or len(size) != 2 or not isinstance(strides, list):
            raise NativeError(
                f"{file}: image_size is {size!r}, merge_strides {strides!r:.40}; expected lists"
            )
        hidden, ratio = _whole(file, values, "hidden_size"), _number(file, values, "mlp_ratio")
        height, width = _wholes(file, "image_size", size)
        found = cls(
            height=height,
            width=width,
            patch_size=_whole(file, values, "patch_size"),
            stem_channels=_wholes(file, "stem_channels", values.get("stem_channels")),
            hidden_size=hidden,
            num_hidden_layers=_whole(file, values, "num_hidden_layers"),
            num_attention_heads=_whole(file, values, "num_attention_heads"),
            inner=int(hidden * ratio),
            layer_norm_eps=_number(file, values, "layer_norm_eps"),
            neck_channels=_whole(file, values, "neck_channels"),
            merge_channels=_wholes(file, "merge_channels", values.get("merge_channels")),
            merge_strides=tuple(_pair(file, stride) for stride in strides),
            ctc_frames=_whole(file, values, "ctc_frames", least=0),
        )
        found._check(file)
        return found

    def _check(self, file: Path) -> None:
        rows = self.rows
        for down, _ in self.merge_strides:
            rows = -(-rows // down)
        if (
            2 ** (len(self.stem_channels) + 1) != self.patch_size
            or self.height % self.patch_size
            or self.hidden_size % self.num_attention_heads
            or len(self.merge_channels) != len(self.merge_strides)
            or any(across != 1 for _, across in self.merge_strides)
        ):
            raise CheckpointError(
                f"{file}: the sizes of the vision vocabulary network do not fit together; fetch it again"
            )
        if rows != 1 or not self.rows:
            raise NativeError(
                f"{file}: {rows} rows of image tokens are left; only one is read without PyTorch"
            )


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ids with a meaning; `ends` are all that end a line, `end` and `blank` those of the CTC branch."""

    image: int
    image_start: int
    image_end: int
    end: int
    blank: int
    ends: frozenset[int]
    suppressed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PixelSettings:
    """How gray values become a network's input: `(gray * rescale_factor - mean) / std`."""

    width_multiple: int
    rescale_factor: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class LightSettings:
    """A line checkpoint's configuration.

    Attributes:
        tasks, languages, prompts, version, confidence: as in `vary.model.configuration.VaryConfig`.
        line_size: height and greatest width of the lines that it reads, px.
        weights: how many numbers the model has, those that two parts share counted once.
        tied: whether the head is the table of embeddings.
        vision, text, tokens, pixels: of its parts.
    """

    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    prompts: dict[str, str]
    version: str
    confidence: dict[str, float] | None
    line_size: tuple[int, int]
    weights: int
    tied: bool
    vision: VisionSettings
    text: TextShape
    tokens: TokenIds
    pixels: PixelSettings

    @classmethod
    def read(cls, folder: Path, weights: int = 0) -> LightSettings:
        """The configuration of a folder that `save_pretrained` wrote.

        Raises:
            CheckpointError: if a file is missing or broken.
            NativeError: for a checkpoint that is not read here.
        """
        file = folder / "config.json"
        if not file.is_file():
            raise CheckpointError(
                f"{folder}: no checkpoint here (there is no config.json); give the folder of one"
            )
        values = read_json(file)
        _check_plain(file, values, {"model_type": "vary", "window": "lines", "clip_config": None})
        network = _object(file, "vision_vocabulary_config", values.get("vision_vocabulary_config"))
        language = _object(file, "text_config", values.get("text_config"))
        vision = VisionSettings.of(file, network)
        text = _text_shape(file, language)
        if values.get("projector_dim") != text.hidden or (
            vision.ctc_frames and network.get("ctc_hidden_size") != text.hidden
        ):
            raise CheckpointError(
                f"{file}: projector_dim is {values.get('projector_dim')!r} and ctc_hidden_size "
                f"{network.get('ctc_hidden_size')!r}, but the language model is {text.hidden} wide"
            )
        _check_template(folder)
        confidence = values.get("confidence")
        return cls(
            tasks=_texts(file, values, "tasks"),
            languages=_texts(file, values, "languages"),
            prompts=_prompts(file, values),
            version=_text(file, values, "checkpoint_version"),
            confidence=confidence if confidence is None else dict(_object(file, "confidence", confidence)),
            line_size=(vision.height, _line_width(file, values, vision)),
            weights=weights,
            tied=bool(values.get("tie_word_embeddings")),
            vision=vision,
            text=text,
            tokens=_tokens(folder, values, language, text.vocabulary),
            pixels=_pixels(folder, vision),
        )


def _line_width(file: Path, values: Mapping[str, Any], vision: VisionSettings) -> int:
    if values.get("line_width") is None:
        return vision.width
    width = _whole(file, values, "line_width")
    if not vision.height <= width <= vision.width:
        raise CheckpointError(
            f"{file}: line_width is {width}, expected {vision.height} to {vision.width}; fetch it again"
        )
    return width


def _text_shape(file: Path, values: Mapping[str, Any]) -> TextShape:
    _check_plain(file, values, {"model_type": "qwen2"})
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"):
        _whole(file, values, name)
    for name in ("intermediate_size", "vocab_size", "max_position_embeddings"):
        _whole(file, values, name)
    _number(file, values, "rms_norm_eps")
    rope = _object(file, "rope_parameters", values.get("rope_parameters") or {})
    _number(file, {"rope_theta": 10000.0, **rope}, "rope_theta")
    if values.get("head_dim") is not None:
        _whole(file, values, "head_dim")
    if values["num_attention_heads"] % values["num_key_value_heads"]:
        raise CheckpointError(f"{file}: the language model's heads do not fit together; fetch it again")
    kinds = set(values.get("layer_types") or ["full_attention"])
    if kinds != {"full_attention"}:
        raise NativeError(f"{file}: layers of the types {sorted(kinds)} are not computed without PyTorch")
    return TextShape.of(SimpleNamespace(**values))


def _tokens(folder: Path, values: Mapping[str, Any], text: Mapping[str, Any], vocabulary: int) -> TokenIds:
    file = folder / "generation_config.json"
    if not file.is_file():
        raise NativeError(f"{folder} has no generation_config.json, which says how lines end")
    settings = read_json(file)
    if unusual := [name for name in UNUSUAL if settings.get(name) not in (None, 0, 1, [], {})]:
        raise NativeError(f"{file}: {', '.join(unusual)} is for the library's own loop of generation")
    if settings.get("use_cache") is False:
        raise NativeError(f"{file}: use_cache is false, which is for the library's own loop of generation")
    ends = settings.get("eos_token_id")
    found = TokenIds(
        image=_whole(file, values, "image_token_id"),
        image_start=_whole(file, values, "image_start_token_id"),
        image_end=_whole(file, values, "image_end_token_id"),
        end=_whole(file, text, "eos_token_id", least=0),
        blank=_whole(file, text, "pad_token_id", least=0),
        ends=frozenset(_wholes(file, "eos_token_id", ends if isinstance(ends, list) else [ends], least=0)),
        suppressed=_wholes(file, "suppress_tokens", settings.get("suppress_tokens") or [], least=0),
    )
    named = {found.image, found.image_start, found.image_end, found.end, found.blank}
    if max(named | found.ends | set(found.suppressed)) >= vocabulary:
        raise CheckpointError(f"{folder}: a token's id lies beyond the vocabulary of {vocabulary} ids")
    return found


def _pixels(folder: Path, vision: VisionSettings) -> PixelSettings:
    file = folder / "processor_config.json"
    if not file.is_file():
        raise NativeError(f"{folder} has no processor_config.json, which says how pixels are normalised")
    values = _object(file, "image_processor", read_json(file).get("image_processor"))
    _check_plain(file, values, PLAIN_PIXELS)
    if values.get("line_height") != vision.height or values.get("width_multiple") != vision.patch_size:
        raise NativeError(
            f"{file}: line_height is {values.get('line_height')} and width_multiple "
            f"{values.get('width_multiple')}, but the network takes {vision.height} and {vision.patch_size}"
        )
    channels = {}
    for name in ("image_mean", "image_std"):
        given = values.get(name)
        channels[name] = given[0] if isinstance(given, list) and len(given) == 1 else given
    std = _number(file, channels, "image_std")
    return PixelSettings(
        width_multiple=vision.patch_size,
        rescale_factor=_number(file, values, "rescale_factor"),
        mean=_number(file, channels, "image_mean", positive=False),
        std=std,
    )


def _check_template(folder: Path) -> None:
    """A prompt is the image between its borders and nothing else."""
    file = folder / "chat_template.jinja"
    if not file.is_file() or read_text(file) != CHAT_TEMPLATES["vary_nano"]:
        raise NativeError(f"{file} is not vary-nano's, and only that is rendered without PyTorch")
    if (folder / "additional_chat_templates").exists():
        raise NativeError(f"{folder} has further layouts, which are not rendered without PyTorch")


def _check_plain(file: Path, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        if name not in values or values[name] != value:
            raise NativeError(
                f"{file}: {name} is {values.get(name)!r:.40}; without PyTorch only {value!r} is computed"
            )


def _object(file: Path, name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        raise _unsaid(file, name)
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: {name} is {value!r:.40}, expected an object")
    return value


def _whole(file: Path, values: Mapping[str, Any], name: str, least: int = 1) -> int:
    [value] = _wholes(file, name, [values.get(name)], least=least)
    return value


def _wholes(file: Path, name: str, values: Any, least: int = 1) -> tuple[int, ...]:
    if values is None or (isinstance(values, list) and None in values):
        raise _unsaid(file, name)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise CheckpointError(f"{file}: {name} is {values!r:.40}, expected whole numbers")
    for value in values:
        if type(value) is not int or not least <= value < 2**31:
            raise CheckpointError(f"{file}: {name} is {value!r:.40}, expected a whole number from {least} on")
    return tuple(values)


def _pair(file: Path, value: Any) -> tuple[int, int]:
    found = _wholes(file, "merge_strides", value)
    if len(found) != 2:
        raise CheckpointError(f"{file}: merge_strides has {value!r:.40}, expected pairs")
    return found[0], found[1]


def _number(file: Path, values: Mapping[str, Any], name: str, *, positive: bool = True) -> float:
    value: Any = values.get(name)
    if value is None:
        raise _unsaid(file, name)
    if type(value) not in (int, float) or not abs(value) < 1e30 or (positive and value <= 0):
        raise CheckpointError(f"{file}: {name} is {value!r:.40}, expected a number")
    return float(value)


def _text(file: Path, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise _unsaid(file, name)
    return value


def _texts(file: Path, values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise _unsaid(file, name)
    return tuple(value)


def _unsaid(file: Path, name: str) -> NativeError:
    """What is not said is as the library has it by default, and the library is not asked."""
    return NativeError(f"{file} does not say its {name}, and only the library knows what it is then")


def _prompts(file: Path, values: Mapping[str, Any]) -> dict[str, str]:
    value = values.get("prompts") or {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"{file}: prompts is {value!r:.80}, expected an object of task and text")
    return dict(value)
