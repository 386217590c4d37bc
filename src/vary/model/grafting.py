"""Tokenizer and processor for a model that was put together from parts (see `vary.model.parts`).

The text model's tokenizer gets the three image tokens, and a prompt layout with places for images.
"""

from __future__ import annotations

import copy
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from vary.errors import CheckpointError
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.loading import quiet_library, why
from vary.model.processing import VaryProcessor
from vary.model.tokenization import IMAGE_END_TOKEN, IMAGE_START_TOKEN, IMAGE_TOKEN
from vary.model.vocabulary_folder import fitted_image_processor, load_image_processor, read_config

__all__ = [
    "CHATML_TOKENS",
    "GraftLayout",
    "choose_layout",
    "graft_processor",
    "graft_tokenizer",
    "image_token_ids",
    "load_text_tokenizer",
]

GraftLayout = Literal["auto", "chatml", "own", "plain"]
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
IMAGE_TOKENS = {
    "image_start_token_id": IMAGE_START_TOKEN,
    "image_end_token_id": IMAGE_END_TOKEN,
    "image_token_id": IMAGE_TOKEN,
}
"""In the order in which they are added, by their names in `VaryConfig`."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
)

_IMAGE = IMAGE_START_TOKEN + IMAGE_TOKEN + IMAGE_END_TOKEN

_PLAIN = """\
{{- @BOS@ -}}
{%- for message in messages -%}
    {%- if message['content'] is string -%}
        {%- set text = message['content'] -%}
    {%- else -%}
        {%- set texts = message['content'] | selectattr('type', 'equalto', 'text') -%}
        {%- set text = texts | map(attribute='text') | join -%}
        {%- for part in message['content'] if part['type'] == 'image' -%}
            {{- '@IMAGE@' -}}
        {%- endfor -%}
    {%- endif -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- text + @EOS@ -}}{%- endgeneration -%}
    {%- elif text -%}
        {{- text + '\\n' -}}
    {%- endif -%}
{%- endfor -%}
"""

# Before the text model's own template: every message's content becomes a text, its images at the beginning.
_IMAGES_AS_TEXT = """\
{%- set shown = namespace(messages=[]) -%}
{%- for message in messages -%}
    {%- if message['content'] is string or not message['content'] -%}
        {%- set shown.messages = shown.messages + [message] -%}
    {%- else -%}
        {%- set images = message['content'] | selectattr('type', 'equalto', 'image') | list -%}
        {%- set texts = message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') -%}
        {%- set content = '@IMAGE@\\n' * (images | length) + (texts | join) -%}
        {%- set shown.messages = shown.messages + [dict(message, content=content)] -%}
    {%- endif -%}
{%- endfor -%}
{%- set messages = shown.messages %}
""".replace("@IMAGE@", _IMAGE)


def load_text_tokenizer(folder: str | PathLike[str]) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a text model's folder, as it is; None where there is none.

    Raises:
        CheckpointError: if there is one that cannot be loaded, for instance because it needs code of its own.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    try:
        with quiet_library():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library and its backends raise anything for files that they cannot read
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded ({why(error)})") from error


def graft_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a text model's tokenizer with `<img>`, `</img>` and `<imgpad>` as special tokens.

    Tokens that are there keep their ids, the others follow the last one.  It pads on the left, for
    generation, with its end token where it has none for padding.  Its chat template goes: the processor has
    the one with images.

    Raises:
        CheckpointError: if it has neither a padding nor an end token.
    """
    grafted = copy.deepcopy(tokenizer)
    tokens = [AddedToken(token, special=True, normalized=False) for token in IMAGE_TOKENS.values()]
    grafted.add_special_tokens({"extra_special_tokens": tokens}, replace_extra_special_tokens=False)
    if grafted.pad_token is None:
        if grafted.eos_token is None:
            raise CheckpointError(
                "the tokenizer has neither a padding nor an end token; set its eos_token, "
                "with which an answer ends"
            )
        grafted.pad_token = grafted.eos_token
    grafted.padding_side = "left"
    grafted.chat_template = None
    return grafted


def image_token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of the image tokens of a grafted tokenizer by their names in `VaryConfig`."""
    return {name: int(tokenizer.convert_tokens_to_ids(token)) for name, token in IMAGE_TOKENS.items()}


def graft_processor(
    config: VaryConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    image_processor: VaryImageProcessor | str | PathLike[str] | None = None,
    clip: str | PathLike[str] | None = None,
    layout: GraftLayout = "auto",
) -> VaryProcessor:
    """The processor of a model that `from_parts` made.

    Args:
        config: the model's.
        tokenizer: the text model's, with or without the image tokens.
        image_processor: the vocabulary branch's preprocessing, or the folder that records it; None takes what
            the authors' demo of Vary-toy feeds it, or vary-nano's lines.
        clip: the folder that records CLIP's preprocessing; None takes CLIP's published one.
        layout: `chatml` is the prompt of Vary-toy's authors, for a tokenizer that has its tokens; `own` is
            the text model's own chat template with the images in front of a message's text; `plain` is the
            image, the text and a line break.  `auto` is the first of these that is possible, and `plain` for
            a model that reads lines.

    Raises:
        CheckpointError: if the tokenizer's ids are not the configuration's, the preprocessing does not fit
            the networks, or the layout is not possible.
    """
    grafted = graft_tokenizer(tokenizer)
    wanted = {name: getattr(config, name) for name in IMAGE_TOKENS}
    if (found := image_token_ids(grafted)) != wanted:
        raise CheckpointError(
            f"the tokenizer gives the image tokens the ids {found}, but the model has {wanted}; "
            "give from_parts the same tokenizer"
        )
    if isinstance(image_processor, str | PathLike):
        image_processor = load_image_processor(image_processor)
    vision = fitted_image_processor(config.vision_vocabulary_config, image_processor).to_dict()
    vision.pop("image_processor_type", None)
    vision.pop("variants", None)  # they belong to layouts of the checkpoint that the vocabulary is from
    if config.clip_config is not None:
        vision |= _clip_settings(int(config.clip_config.image_size), clip)
    lines = config.window == "lines"
    return VaryProcessor(
        VaryImageProcessor(**vision),
        grafted,
        image_seq_length=None if lines else config.image_seq_length,
        chat_template=_template(tokenizer, choose_layout(config, tokenizer, layout)),
    )


def choose_layout(
    config: VaryConfig, tokenizer: PreTrainedTokenizerBase, layout: GraftLayout = "auto"
) -> GraftLayout:
    """What `auto` stands for with this tokenizer; another layout is passed on."""
    if layout != "auto":
        return layout
    if config.window == "lines":
        return "plain"
    if _is_chatml(tokenizer):
        return "chatml"
    return "own" if _own_template(tokenizer) else "plain"


def _is_chatml(tokenizer: PreTrainedTokenizerBase) -> bool:
    known = tokenizer.get_vocab()
    return all(token in known for token in CHATML_TOKENS)


def _own_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text model's own chat template, or nothing."""
    own = tokenizer.chat_template
    return str((own.get("default") if isinstance(own, dict) else own) or "")


def _template(tokenizer: PreTrainedTokenizerBase, layout: GraftLayout) -> str:
    """The chat template of a layout; it writes the tokenizer's first token too, where that adds one."""
    bos = _first_token(tokenizer)
    if layout == "chatml":
        if not _is_chatml(tokenizer):
            raise CheckpointError(
                f"the layout 'chatml' needs {' and '.join(CHATML_TOKENS)}, which the tokenizer lacks; "
                "take 'own' or 'plain'"
            )
        family = CHAT_TEMPLATES["vary_qwen"]
        authors = family if isinstance(family, str) else family["default"]
        return f"{{{{- {_literal(bos)} -}}}}\n{authors}" if bos else authors
    if layout == "own":
        if not (own := _own_template(tokenizer)):
            raise CheckpointError(
                "the layout 'own' needs the text model's chat template, which the tokenizer lacks; "
                "take 'plain', or 'chatml' where it has its tokens"
            )
        return _IMAGES_AS_TEXT + own
    if layout != "plain":
        raise CheckpointError(f"no layout {layout!r}; there are auto, chatml, own and plain")
    eos = _literal(tokenizer.eos_token or "")
    return _PLAIN.replace("@IMAGE@", _IMAGE).replace("@BOS@", _literal(bos)).replace("@EOS@", eos)


def _literal(text: str) -> str:
    """A text as a string in Jinja, whose strings are Python's."""
    return repr(text)


def _first_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that the tokenizer puts in front of every text, or nothing."""
    with_it, alone = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    if len(with_it) > len(alone) and with_it[0] != alone[0]:
        return str(tokenizer.convert_ids_to_tokens(with_it[0]))
    return ""


def _clip_settings(size: int, folder: str | PathLike[str] | None) -> dict[str, Any]:
    """CLIP's preprocessing under our names: what a folder records, or the published one."""
    published = PUBLISHED_IMAGE_SETTINGS["vary_toy"]
    settings = {name: value for name, value in published.items() if name.startswith("clip_")}
    settings["clip_size"] = size
    if folder is None:
        return settings
    if read_config(Path(folder)).get("model_type") == VaryConfig.model_type:
        ours = load_image_processor(folder)
        stored = {} if ours is None else ours.to_dict()
        return settings | {name: value for name, value in stored.items() if name.startswith("clip_")}
    return settings | _stored_clip_settings(Path(folder), size)


def _stored_clip_settings(folder: Path, size: int) -> dict[str, Any]:
    """What `preprocessor_config.json` of a folder of CLIP says, where it is there."""
    if not (folder / "preprocessor_config.json").is_file():
        return {}
    stored = read_config(folder, "preprocessor_config.json")
    names = {"resample": "clip_resample", "image_mean": "clip_image_mean", "image_std": "clip_image_std"}
    crop = stored.get("crop_size", size)
    crop = crop.get("height", size) if isinstance(crop, dict) else crop
    if crop != size:
        raise CheckpointError(
            f"{folder}: its preprocessing cuts images of {crop} pixels, but the network was built for {size}"
        )
    return {ours: stored[theirs] for theirs, ours in names.items() if stored.get(theirs) is not None}
