"""A Vary model from its parts: vision vocabulary, perhaps CLIP, and any causal language model.

Everything but the projector comes with its weights; the projector, which leads from the vision branches into
the language model, is new and has to be trained.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from vary.errors import CheckpointError, did_you_mean
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.grafting import CHATML_TOKENS, graft_tokenizer, image_token_ids, load_text_tokenizer
from vary.model.loading import check_loaded, quiet_library
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.part_sources import (
    CLIP_PREFIX,
    Clip,
    Part,
    Text,
    Vocabulary,
    clip_part,
    language_part,
    vocabulary_part,
)
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import CHECKPOINT_PREFIX

__all__ = ["from_parts"]

LANGUAGE_PREFIX, PROJECTOR_PREFIX = "model.language_model.", "model.projector."
MADE_HERE = {"vision_vocabulary_config", "clip_config", "text_config", "tie_word_embeddings", "sub_configs"}
"""Fields of the configuration that follow from the parts."""
PROBE_TOKENS = 8
CALL_ERRORS = (TypeError, ValueError, RuntimeError, AttributeError, IndexError)
FULL_TOLERANCE, HALF_TOLERANCE = 1e-4, 3e-2
"""How far scores of the same text may lie apart, as a share of the largest, in 32 bits and in 16."""


def from_parts(
    *,
    vision_vocabulary: Vocabulary,
    text: Text,
    clip: Clip | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    dtype: torch.dtype | None = None,
    keep_ctc: bool | None = None,
    **options: Any,
) -> VaryForConditionalGeneration:
    """Grafts a vision vocabulary onto a causal language model.

    Folders are local ones; modules are copied and stay as they are; a configuration builds a part with random
    weights.  The model is on the CPU and in evaluation mode.  What it makes of text alone is what the
    language model makes of it: a few tokens are tried.  The projector is drawn from torch's random state.

    Args:
        vision_vocabulary: a folder of `vary vocabulary extract`, a whole checkpoint of ours, the network, a
            Vary model that has one, or its configuration.
        text: a folder, a `...ForCausalLM` module of Transformers whose head is a plain matrix, or its
            configuration.
        clip: None for a single branch, or a folder (CLIP, its vision model, or a checkpoint of ours), a
            module, or a configuration; only the vision model is taken.
        tokenizer: the language model's; the image tokens get the ids that `grafting.graft_tokenizer` gives
            them, and embeddings grow where those have no row yet.  None takes the one in the folder `text`;
            without any, the ids follow the last row.
        dtype: of all weights; None takes the language model's.
        keep_ctc: whether the vocabulary's CTC branch stays.  Its frames are classified by the head of the
            language model with which it was trained, so by default it stays only where `vision_vocabulary` is
            a configuration.
        options: further fields of `VaryConfig`, such as `tasks` (none by default: nothing is trained yet),
            `languages`, `vision_select_layer` or the image tokens' ids.

    Raises:
        CheckpointError: if a part is not there, broken or of a kind that cannot be taken, if the parts do not
            fit together, or the language model computes its text in a way that would be lost.
        TypeError: for an option that does not exist.
    """
    _check_options(options)
    language = language_part(text, dtype)
    causal: PreTrainedModel = language.module
    kind = dtype or causal.dtype
    network = vocabulary_part(vision_vocabulary, kind)
    vision = None if clip is None else clip_part(clip, kind)
    if keep_ctc is None:
        keep_ctc = isinstance(vision_vocabulary, VisionVocabularyConfig)
    if tokenizer is None and isinstance(text, str | PathLike):
        tokenizer = load_text_tokenizer(text)
    rows = causal.get_output_embeddings().weight.shape[0]
    ids = _image_ids(tokenizer, rows, options)
    fields = {
        "text_config": _text_config(causal, max(rows, 1 + max(ids.values()))),
        "vision_vocabulary_config": _vision_config(network.module, keep_ctc),
        "clip_config": None if vision is None else copy.deepcopy(vision.module.config),
    }
    config = _config(fields, {**options, **ids})
    state = {
        **_language_state(language, config, kind),
        **_state(network, CHECKPOINT_PREFIX, kind, skip="" if keep_ctc else "ctc."),
        **({} if vision is None else _state(vision, CLIP_PREFIX, kind)),
    }
    model = _with_tensors(config, state, kind)
    model.generation_config = _generation_config(causal, tokenizer)
    _check_same_text(model, causal, rows, ids)
    return model


def _check_options(options: Mapping[str, Any]) -> None:
    """Raises TypeError for a name that is no field of VaryConfig, or one that follows from the parts."""
    known = [name for name in VaryConfig.__annotations__ if name not in MADE_HERE]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise TypeError(f"from_parts() has no option '{name}'{hint}")


def _image_ids(
    tokenizer: PreTrainedTokenizerBase | None, rows: int, options: Mapping[str, Any]
) -> dict[str, int]:
    """The ids of the image tokens: those asked for, the tokenizer's, or those behind the last row."""
    names = ("image_start_token_id", "image_end_token_id", "image_token_id")
    asked = {name: options[name] for name in names if name in options}
    if tokenizer is None:
        ids = {name: rows + place for place, name in enumerate(names)} | asked
    else:
        ids = image_token_ids(graft_tokenizer(tokenizer))
        if wrong := {name: wanted for name, wanted in asked.items() if wanted != ids[name]}:
            raise CheckpointError(f"{wrong} was asked for, but the tokenizer has {ids}; leave the ids out")
    if len(set(ids.values())) < len(ids) or min(ids.values()) < 0:
        raise CheckpointError(f"the image tokens need three different ids, found {ids}")
    return ids


def _text_config(causal: PreTrainedModel, rows: int) -> Any:
    """The language model's configuration with so many rows, tied if its weights are."""
    config = copy.deepcopy(causal.config)
    config.vocab_size = rows
    config.tie_word_embeddings = causal.get_output_embeddings().weight is causal.get_input_embeddings().weight
    return config


def _vision_config(network: VisionVocabulary, keep_ctc: bool) -> VisionVocabularyConfig:
    config = copy.deepcopy(network.config)
    if not keep_ctc:
        config.ctc_frames, config.ctc_hidden_size = 0, None
    return config


def _config(parts: Mapping[str, Any], options: Mapping[str, Any]) -> VaryConfig:
    """The whole model's configuration; errors have the numbers that do not fit."""
    text, branches = parts["text_config"], 1 if parts["clip_config"] is None else 2
    if text.hidden_size % branches:
        raise CheckpointError(
            f"the language model is {text.hidden_size} wide, which {branches} branches cannot share equally; "
            "leave CLIP out, or use a language model of even width"
        )
    settings = {
        "projector_dim": text.hidden_size // branches,
        "window": "lines" if parts["vision_vocabulary_config"].variable_width else "whole",
        "tasks": (),
        **options,
    }
    try:
        return VaryConfig(**parts, tie_word_embeddings=text.tie_word_embeddings, **settings)
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise CheckpointError(f"the parts make no model: {error}") from error


def _language_state(part: Part, config: VaryConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Base model and head under Vary's names, embeddings and head grown to the configuration's rows."""
    causal, rows = part.module, config.text_config.vocab_size
    embedding = next(
        name for name, module in causal.base_model.named_modules() if module is causal.get_input_embeddings()
    )
    state = _state(Part(causal.base_model, part.shared), LANGUAGE_PREFIX, dtype)
    place = f"{LANGUAGE_PREFIX}{embedding}.weight"
    state[place] = _grown(state[place], rows)
    if not config.tie_word_embeddings:
        head = _converted(causal.get_output_embeddings().weight, part.shared, dtype)
        state["lm_head.weight"] = _grown(head, rows)
    return state


def _grown(weight: Tensor, rows: int) -> Tensor:
    """A matrix (n, width) with more rows, each the mean of the old ones.

    So the score of a new token is the mean of all others' scores, never the best: until it is trained, the
    model does not write it.
    """
    if rows == weight.shape[0]:
        return weight
    mean = weight.mean(0, dtype=torch.float32).to(weight.dtype)
    return torch.cat([weight, mean.expand(rows - weight.shape[0], -1)])


def _state(part: Part, prefix: str, dtype: torch.dtype, *, skip: str = "") -> dict[str, Tensor]:
    """A module's tensors in one type under names that begin with `prefix`, without those of `skip`."""
    return {
        prefix + name: _converted(tensor, part.shared, dtype)
        for name, tensor in part.module.state_dict().items()
        if not (skip and name.startswith(skip))
    }


def _converted(tensor: Tensor, shared: bool, dtype: torch.dtype) -> Tensor:
    """A tensor on the CPU; floating point in `dtype`; a copy where somebody else has it too."""
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind, copy=shared)


def _with_tensors(
    config: VaryConfig, state: Mapping[str, Tensor], dtype: torch.dtype
) -> VaryForConditionalGeneration:
    """The model with these very tensors and a fresh projector."""
    with quiet_library():
        model, info = VaryForConditionalGeneration.from_pretrained(
            None, config=config, state_dict=dict(state), dtype=dtype, output_loading_info=True
        )
    missing = {name for name in info["missing_keys"] if not name.startswith(PROJECTOR_PREFIX)}
    check_loaded("the parts", {**info, "missing_keys": missing})
    return model


def _generation_config(
    causal: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
) -> GenerationConfig:
    """Where an answer ends and what pads a batch; how tokens are drawn is not taken over: reading is greedy.

    An answer ends with what ends the language model's, with the tokenizer's end token, and with `<|im_end|>`
    where the tokenizer has it.
    """
    old = causal.generation_config or GenerationConfig()

    def found(name: str) -> Any:
        first = getattr(old, name, None)
        return first if first is not None else getattr(causal.config, name, None)

    ends, pad = found("eos_token_id"), found("pad_token_id")
    ends = [ends] if isinstance(ends, int) else list(ends or ())
    if tokenizer is not None:
        turn = CHATML_TOKENS[1]
        ends += [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        ends += [tokenizer.convert_tokens_to_ids(turn)] if turn in tokenizer.get_vocab() else []
        pad = tokenizer.pad_token_id if pad is None else pad
    ends = list(dict.fromkeys(ends))
    return GenerationConfig(
        bos_token_id=found("bos_token_id"),
        eos_token_id=(ends[0] if len(ends) == 1 else ends) if ends else None,
        pad_token_id=ends[0] if pad is None and ends else pad,
    )


@torch.no_grad()
def _check_same_text(
    model: VaryForConditionalGeneration, causal: PreTrainedModel, rows: int, ids: Mapping[str, int]
) -> None:
    """Raises CheckpointError unless both score a few tokens alike.

    A language model may do more than its configuration says (scale its scores, look at the ids inside): what
    Vary's head and its call with embeddings would lose shows here.
    """
    usable = torch.tensor([token for token in range(rows) if token not in ids.values()])
    chosen = usable[torch.linspace(0, len(usable) - 1, min(PROBE_TOKENS, len(usable))).long()][None]
    expected = _own_scores(causal, chosen)
    try:
        found = model(input_ids=chosen).logits[..., :rows].float()
    except CALL_ERRORS as error:
        raise CheckpointError(
            f"the text model '{causal.config.model_type}' cannot be called as Vary calls it ({error}); "
            "use another language model"
        ) from error
    halves = any(kind.itemsize < 4 for kind in (model.dtype, causal.dtype))
    difference, largest = float((expected - found).abs().max()), float(expected.abs().max())
    if not difference <= (HALF_TOLERANCE if halves else FULL_TOLERANCE) * largest:
        raise CheckpointError(
            f"the text model '{causal.config.model_type}' scores the same tokens differently without its own "
            f"head (by {difference:.3g} of {largest:.3g}): it does more than Vary would; use another one"
        )


def _own_scores(causal: PreTrainedModel, ids: Tensor) -> Tensor:
    """The language model's own scores (1, T, rows) of ids (1, T), whatever mode it is in."""
    training = {module: module.training for module in causal.modules()}
    causal.eval()
    try:
        scores: Tensor = causal(input_ids=ids.to(causal.device)).logits
    except CALL_ERRORS as error:
        raise CheckpointError(
            f"the text model '{causal.config.model_type}' does not run on its own ({error}); "
            "is its configuration right?"
        ) from error
    finally:
        for module, was in training.items():
            module.training = was
    return scores.float().cpu()
