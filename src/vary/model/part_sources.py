"""The parts of a model as modules: folders are loaded, configurations built, everything else refused."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.loading import LIBRARY_ERRORS, check_loaded, quiet_library, why
from vary.model.modeling import VaryForConditionalGeneration, VaryModel
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import load_vision_vocabulary, read_config, read_subset

__all__ = [
    "CLIP_PREFIX",
    "Clip",
    "Part",
    "Text",
    "Vocabulary",
    "clip_part",
    "language_part",
    "vocabulary_part",
]

Vocabulary: TypeAlias = str | PathLike[str] | PreTrainedModel | VisionVocabularyConfig
Clip: TypeAlias = str | PathLike[str] | PreTrainedModel | PreTrainedConfig
Text: TypeAlias = str | PathLike[str] | PreTrainedModel | PreTrainedConfig

CLIP_PREFIX = "model.clip."
"""In front of the names of the CLIP branch in a whole checkpoint of ours."""
BESIDE_CLIP = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
"""What the whole of CLIP has beside its vision model."""


@dataclass(frozen=True, slots=True)
class Part:
    """A module, and whether somebody else holds it too, so that its weights have to be copied."""

    module: Any
    shared: bool


def language_part(text: Text, dtype: torch.dtype | None) -> Part:
    """The causal language model; a folder is loaded in `dtype`, or in its own for None.

    Raises:
        CheckpointError: if it is not there, broken, or of a kind that cannot be taken over; the message says
            why.
    """
    if isinstance(text, PreTrainedModel):
        part = Part(text, shared=True)
    elif isinstance(text, PreTrainedConfig):
        if type(text) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise CheckpointError(f"text is a {type(text).__name__}, which makes no causal language model")
        part = Part(AutoModelForCausalLM.from_config(copy.deepcopy(text), dtype=dtype), shared=False)
    elif isinstance(text, str | PathLike):
        part = Part(_load_language(Path(text), dtype), shared=False)
    else:
        raise CheckpointError(
            f"text is a {type(text).__name__}; expected a folder, a ...ForCausalLM module of Transformers, "
            "or its configuration"
        )
    _check_language(part.module)
    return part


def _load_language(folder: Path, dtype: torch.dtype | None) -> PreTrainedModel:
    """The causal language model of a folder, every tensor in its place."""
    read_config(folder)
    try:
        with quiet_library():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: Transformers cannot read its config.json ({why(error)})") from error
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(f"{folder}: its weights are quantized; give the model as it was before")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(
            f"{folder}: a '{config.model_type}' is no causal language model of Transformers"
        )
    try:
        with quiet_library():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype or "auto",
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: no language model that can be loaded ({why(error)})") from error
    check_loaded(folder, info)
    return model


def _check_language(causal: PreTrainedModel) -> None:
    """Raises CheckpointError unless base model and head can be taken over with nothing left behind."""
    name, kind = type(causal).__name__, causal.config.model_type
    if type(causal.config) not in MODEL_FOR_CAUSAL_LM_MAPPING or causal.base_model is causal:
        raise CheckpointError(f"text is a {name}; expected a causal language model with its head")
    if type(causal.base_model) is not MODEL_MAPPING.get(type(causal.config), None):
        raise CheckpointError(
            f"text is a {name} around a {type(causal.base_model).__name__}, but without its head a '{kind}' "
            "is built differently; use another language model"
        )
    if getattr(causal, "is_quantized", False) or getattr(causal, "_hf_peft_config_loaded", False):
        raise CheckpointError(f"text is a quantized or adapted {name}; give the plain model")
    if any(parameter.is_meta for parameter in causal.parameters()):
        raise CheckpointError(f"text is a {name} on the meta device, without weights; load them first")
    head, embeddings = causal.get_output_embeddings(), causal.get_input_embeddings()
    if not isinstance(head, nn.Linear) or getattr(head, "bias", None) is not None:
        what = "has a bias" if isinstance(head, nn.Linear) else f"is a {type(head).__name__}"
        raise CheckpointError(
            f"the head of the text model '{kind}' {what}: it is more than a matrix, and Vary's own head "
            "would ignore that; use a text model without it"
        )
    if head.weight.shape != embeddings.weight.shape:
        raise CheckpointError(
            f"the head of the text model '{kind}' is {tuple(head.weight.shape)}, but its embeddings are "
            f"{tuple(embeddings.weight.shape)}; expected the same, use another language model"
        )


def vocabulary_part(given: Vocabulary, dtype: torch.dtype) -> Part:
    """The vision vocabulary network; a folder is loaded in `dtype`.

    Raises:
        CheckpointError: if it is not there, broken or something else.
    """
    if isinstance(given, VisionVocabularyConfig):
        return Part(VisionVocabulary(copy.deepcopy(given)), shared=False)
    if isinstance(given, str | PathLike):
        return Part(load_vision_vocabulary(given, dtype=dtype), shared=False)
    whole = given.model if isinstance(given, VaryForConditionalGeneration) else given
    network = whole.vision_vocabulary if isinstance(whole, VaryModel) else whole
    if isinstance(network, VisionVocabulary):
        return Part(network, shared=True)
    raise CheckpointError(
        f"vision_vocabulary is a {type(given).__name__}; expected a folder, a VisionVocabulary or its "
        "configuration"
    )


def clip_part(given: Clip, dtype: torch.dtype) -> Part:
    """CLIP's vision model without its projection; a folder is loaded in `dtype`.

    Raises:
        CheckpointError: if it is not there, broken or something else.
    """
    config = given.vision_config if isinstance(given, CLIPConfig) else given
    if isinstance(config, CLIPVisionConfig):
        return Part(CLIPVisionModel(copy.deepcopy(config)), shared=False)
    if isinstance(given, str | PathLike):
        return Part(_load_clip(Path(given), dtype), shared=False)
    whole = given.model if isinstance(given, VaryForConditionalGeneration) else given
    if isinstance(whole, VaryModel):
        vision = whole.clip
    else:
        projecting = isinstance(whole, CLIPModel | CLIPVisionModelWithProjection)
        vision = whole.vision_model if projecting else whole
    if isinstance(vision, CLIPVisionModel):
        return Part(vision, shared=True)
    raise CheckpointError(
        f"clip is a {type(given).__name__} without CLIP's vision model; expected a folder, a "
        "CLIPVisionModel, a CLIPModel or the configuration of either"
    )


def _load_clip(folder: Path, dtype: torch.dtype) -> CLIPVisionModel:
    """CLIP's vision model of a folder of CLIP, or the CLIP branch of a checkpoint of ours."""
    settings = read_config(folder)
    kind = settings.get("model_type")
    if kind not in ("clip", "clip_vision_model", VaryConfig.model_type):
        raise CheckpointError(
            f"{folder}: its model_type is {kind!r}; expected CLIP, 'clip' or 'clip_vision_model'"
        )
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with quiet_library():
            if kind == VaryConfig.model_type:
                config = VaryConfig.from_dict(settings).clip_config if "text_config" in settings else None
                if config is None:
                    raise CheckpointError(f"{folder}: this checkpoint has no CLIP branch in our format")
                state = read_subset(folder, CLIP_PREFIX)
                model, info = CLIPVisionModel.from_pretrained(
                    None, config=config, state_dict=state, **options
                )
            else:
                model, info = CLIPVisionModel.from_pretrained(folder, local_files_only=True, **options)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: no CLIP that can be loaded ({why(error)})") from error
    unexpected = {name for name in info["unexpected_keys"] if not name.startswith(BESIDE_CLIP)}
    check_loaded(folder, {**info, "unexpected_keys": unexpected})
    return model
