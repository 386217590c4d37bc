"""The Vary model: vision vocabulary (and CLIP) features in front of a causal language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPVisionModel,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, ModelOutput
from transformers.utils.generic import can_return_tuple

from vary.model.configuration import VaryConfig
from vary.model.vision_vocabulary import VisionVocabulary

__all__ = ["VaryForConditionalGeneration", "VaryImageFeatures", "VaryModel"]

Survey = Callable[[Tensor, Sequence[int]], tuple[Tensor, Tensor]]
BranchRunner = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]
PIXEL_INPUTS = ("pixel_values", "pixel_values_clip", "pixel_widths")


@dataclass
class VaryImageFeatures(BaseModelOutputWithPooling):
    """What the vision branches make of a batch of images.

    Attributes:
        pooler_output: image tokens in the language model's width: (images, N, hidden), or where widths vary a
            list of (n_i, hidden), one per image.
        last_hidden_state: the vocabulary branch's tokens (images, N, channels), padding included.
        ctc_frames: (images, frames, hidden) for the shared classifier, or None; padding included.
        ctc_lengths: (images,) valid frames per image, or None.
    """

    ctc_frames: Tensor | None = None
    ctc_lengths: Tensor | None = None


@dataclass
class VaryModelOutputWithPast(BaseModelOutputWithPast):
    """The language model's output, and the image features that went in (None in later steps)."""

    image_features: VaryImageFeatures | None = None


@dataclass
class VaryCausalLMOutputWithPast(ModelOutput):
    """The output of `VaryForConditionalGeneration`.

    Attributes:
        loss: mean cross entropy over the labels, if labels were given.
        logits: (B, T, vocabulary).
        ctc_logits: (images, frames, vocabulary), if labels were given and the network has a CTC branch.
        ctc_lengths: (images,) valid frames.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    ctc_logits: Tensor | None = None
    ctc_lengths: Tensor | None = None


class VaryPreTrainedModel(PreTrainedModel):
    config_class = VaryConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ("past_key_values",)
    _no_split_modules = ("Block", "CLIPEncoderLayer", "Qwen2DecoderLayer", "OPTDecoderLayer")
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class VaryProjector(nn.Module):
    """One input embedding layer per branch; their outputs are concatenated on channels, CLIP first."""

    def __init__(self, config: VaryConfig) -> None:
        super().__init__()
        channels = config.vision_vocabulary_config.output_channels
        clip, width = config.clip_config, config.projector_dim
        self.clip = None if clip is None else nn.Linear(clip.hidden_size, width)
        self.vision_vocabulary = nn.Linear(channels, width)

    def forward(self, vocabulary_features: Tensor, clip_features: Tensor | None = None) -> Tensor:
        """(B, N, C) and, with CLIP, (B, N, C') to (B, N, hidden)."""
        projected = self.vision_vocabulary(vocabulary_features)
        return projected if self.clip is None else torch.cat([self.clip(clip_features), projected], dim=-1)


class VaryModel(VaryPreTrainedModel):
    """The whole model without its head."""

    def __init__(self, config: VaryConfig) -> None:
        super().__init__(config)
        self.vision_vocabulary = VisionVocabulary(config.vision_vocabulary_config)
        self.clip = None if config.clip_config is None else CLIPVisionModel(config.clip_config)
        self.projector = VaryProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        # What computes features, tokens and embeddings of images of one size in place of the branches, where
        # no gradients are wanted; see vary.engine.cuda.branches.
        self.branch_runner: BranchRunner | None = None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        return self.vision_vocabulary if modality == "image" else self

    def get_image_features(
        self,
        pixel_values: Tensor,
        pixel_values_clip: Tensor | None = None,
        pixel_widths: Tensor | None = None,
        return_dict: bool = True,
    ) -> VaryImageFeatures:
        """Encodes images once.

        Args:
            pixel_values: (images, channels, H, W), the vocabulary branch.
            pixel_values_clip: (images, 3, h, w), the CLIP branch; required where the model has one.
            pixel_widths: (images,) valid widths in pixels, for a network of variable width.
            return_dict: taken for the library's sake; an output object is returned in any case.

        Raises:
            ValueError: if a branch's pixels are missing or superfluous.
        """
        if (self.clip is None) != (pixel_values_clip is None):
            has = "has no CLIP branch, but pixel_values_clip was given"
            found = has if self.clip is None else "needs pixel_values_clip for its CLIP branch"
            raise ValueError(f"this model {found}; use the checkpoint's own processor")
        vocabulary_config = self.config.vision_vocabulary_config
        if vocabulary_config.variable_width and pixel_widths is None:
            pixel_widths = torch.tensor(
                [pixel_values.shape[-1]] * len(pixel_values), device=pixel_values.device
            )
        dtype = self.projector.vision_vocabulary.weight.dtype
        pixel_values = pixel_values.to(dtype)
        pixel_values_clip = None if pixel_values_clip is None else pixel_values_clip.to(dtype)
        valid_columns: Tensor | None = None
        embeddings: Tensor | list[Tensor]
        with exact_convolutions(pixel_values):
            if self.branch_runner is not None and pixel_widths is None and not torch.is_grad_enabled():
                features, tokens, embeddings = self.branch_runner(pixel_values, pixel_values_clip)
            else:
                features, valid_columns = self.vision_vocabulary.encode(pixel_values, pixel_widths)
                tokens, embeddings = self.project(features, valid_columns, pixel_values_clip)
        if valid_columns is None:
            columns = torch.tensor([features.shape[-1]] * len(features), device=features.device)
        else:
            columns = valid_columns.sum(-1)
        ctc_frames = ctc_lengths = None
        if self.vision_vocabulary.ctc is not None:
            ctc_frames = self.vision_vocabulary.ctc(features)
            ctc_lengths = columns * vocabulary_config.ctc_frames
        if vocabulary_config.variable_width:
            embeddings = own_rows(embeddings, columns)
        return VaryImageFeatures(
            last_hidden_state=tokens, pooler_output=embeddings, ctc_frames=ctc_frames, ctc_lengths=ctc_lengths
        )

    def project(
        self, features: Tensor, valid_columns: Tensor | None, pixel_values_clip: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Of the vocabulary network's features its tokens (images, N, C), and with CLIP the embeddings."""
        tokens = self.vision_vocabulary.merge_patches(features, valid_columns)
        clip_tokens = None if pixel_values_clip is None else self.clip_features(pixel_values_clip)
        return tokens, self.projector(tokens, clip_tokens)

    def clip_features(self, pixel_values: Tensor) -> Tensor:
        """CLIP's hidden state before its last layer, the class token dropped: (images, N, C).

        The layers behind it are not computed.  CLIP may have a type of its own.
        """
        assert self.clip is not None
        layers, chosen = self.clip.encoder.layers, self.config.vision_select_layer
        hidden: Tensor = self.clip.pre_layrnorm(self.clip.embeddings(pixel_values.to(self.clip.dtype)))
        for layer in layers[: chosen if chosen >= 0 else len(layers) + 1 + chosen]:
            hidden = layer(hidden, None)
        return hidden[:, 1:].to(pixel_values.dtype)

    def embed(self, input_ids: Tensor, features: VaryImageFeatures | None) -> Tensor:
        """Token embeddings (B, T, hidden), image tokens in their placeholders in the order of the images.

        Raises:
            ValueError: if there are more or fewer placeholders than image tokens.
        """
        embeddings = self.get_input_embeddings()(input_ids)
        if features is None:
            return embeddings
        image = features.pooler_output
        image = torch.cat(image) if isinstance(image, list | tuple) else image.flatten(0, 1)
        mask = input_ids == self.config.image_token_id
        check_slots(int(mask.sum()), len(image))
        return embeddings.masked_scatter(mask[..., None], image.to(embeddings.device, embeddings.dtype))

    def check_no_placeholders(self, input_ids: Tensor) -> None:
        """Raises ValueError if a prompt without images has slots for them."""
        if slots := int((input_ids == self.config.image_token_id).sum()):
            raise ValueError(
                f"the prompt has {slots} image placeholders, but no image was given; pass the processor's "
                "pixel_values too"
            )

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_clip: Tensor | None = None,
        pixel_widths: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, VaryImageFeatures] | None = None,
        **kwargs: Any,
    ) -> VaryModelOutputWithPast:
        """Runs the language model over text and images; shapes as in `get_image_features`, ids (B, T)."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        features = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            if features is not None:
                raise ValueError(
                    "give either pixel_values or mm_encoder_outputs, which were made of them, not both"
                )
            features = self.get_image_features(pixel_values, pixel_values_clip, pixel_widths)
        if input_ids is not None:
            if features is None and (past_key_values is None or past_key_values.get_seq_length() == 0):
                self.check_no_placeholders(input_ids)
            inputs_embeds = self.embed(input_ids, features)
        elif features is not None:
            raise ValueError("images need input_ids, which say where they belong; inputs_embeds do not")
        output = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )
        return VaryModelOutputWithPast(
            last_hidden_state=output.last_hidden_state,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            image_features=features,
        )


class VaryForConditionalGeneration(VaryPreTrainedModel, GenerationMixin):
    """Vary with its language modelling head; works with `generate`, PEFT and the library's pipelines."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012 - as the library has it

    def __init__(self, config: VaryConfig) -> None:
        super().__init__(config)
        self.model = VaryModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        # Takes states (N, C) and ids that do not count; gives the likeliest id and the logarithm of the sum
        # of exponentials of the head's scores (N,).  See vary.engine.surveys.
        self.survey: Survey | None = None
        embedding = next(
            name for name, module in self.named_modules() if module is self.model.get_input_embeddings()
        )
        self._tied_weights_keys = {"lm_head.weight": f"{embedding}.weight"}
        self.post_init()

    @classmethod
    def from_parts(cls, **parts: Any) -> VaryForConditionalGeneration:
        """A vision vocabulary grafted onto a causal language model; see `vary.model.parts.from_parts`."""
        from vary.model.parts import from_parts

        return from_parts(**parts)

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        return self.model.get_encoder(modality)

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> VaryImageFeatures:
        """See `VaryModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def ctc_logits(self, features: VaryImageFeatures, rows: Tensor | None = None) -> Tensor:
        """Scores of the CTC branch's frames, (images, frames, vocabulary), by the language model's head.

        With `rows` (K,) they are (images, frames, K), see `scores`.  Raises ValueError without a CTC branch.
        """
        if features.ctc_frames is None:
            raise ValueError("this model has no CTC branch")
        return self.scores(features.ctc_frames, rows)

    def scores(self, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
        """The head's scores (..., vocabulary) of states (..., width), or those of `rows` (K,) alone."""
        return self.lm_head(hidden) if rows is None else F.linear(hidden, self.lm_head.weight[rows])

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_clip: Tensor | None = None,
        pixel_widths: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, VaryImageFeatures] | None = None,
        vocabulary_rows: Tensor | None = None,
        **kwargs: Any,
    ) -> VaryCausalLMOutputWithPast:
        """See `VaryModel.forward`; labels (B, T), -100 where nothing is learned, are shifted inside.

        With `vocabulary_rows` (K,) the scores, the CTC branch's too, are of these ids alone, in their order,
        and so are the labels: positions in it.
        """
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values,
            pixel_values_clip=pixel_values_clip,
            pixel_widths=pixel_widths,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        hidden = output.last_hidden_state
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.scores(hidden[:, kept], vocabulary_rows)
        loss = ctc_logits = ctc_lengths = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **kwargs)
            if (features := output.image_features) is not None and features.ctc_frames is not None:
                ctc_logits, ctc_lengths = self.ctc_logits(features, vocabulary_rows), features.ctc_lengths
        return VaryCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            ctc_logits=ctc_logits,
            ctc_lengths=ctc_lengths,
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The library's inputs; the images go in with the prompt and stay out of the later steps."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in (*PIXEL_INPUTS, "mm_encoder_outputs"):
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """The library's repetition of every prompt, for beams and several answers, and of its images.

        A prompt may have no image or several, of any width, so the rows of the pixels cannot be repeated.
        """
        features = None
        if expand_size > 1:
            features = (kwargs.pop("mm_encoder_outputs", None) or {}).get("image")
            pixels = {name: kwargs.pop(name, None) for name in PIXEL_INPUTS}
            if features is None and pixels["pixel_values"] is not None:
                features = self.get_image_features(**pixels)
        if features is not None and input_ids is not None:
            slots = (input_ids == self.config.image_token_id).sum(-1).tolist()
            check_slots(sum(slots), sum(map(len, features.pooler_output)))
            features = repeat_images(features, slots, expand_size)
        input_ids, kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **kwargs
        )
        if features is not None:
            kwargs["mm_encoder_outputs"] = {"image": features}
        return input_ids, kwargs


def exact_convolutions(pixels: Tensor) -> AbstractContextManager[Any]:
    """Convolutions that only read have all bits of float32 on GPUs too, whose libraries take 10 of them."""
    if pixels.device.type != "cuda" or pixels.dtype != torch.float32 or torch.is_grad_enabled():
        return nullcontext()
    own = torch.backends.cudnn
    context: AbstractContextManager[Any] = own.flags(
        enabled=own.enabled, benchmark=own.benchmark, deterministic=own.deterministic, allow_tf32=False
    )
    return context


def own_rows(padded: Tensor, counts: Tensor) -> list[Tensor]:
    """Of (B, N, C) the first `counts` (B,) rows of each, taken at once, and so is their gradient."""
    own = torch.arange(padded.shape[1], device=counts.device) < counts[:, None]
    return list(padded[own].split(counts.tolist()))


def check_slots(slots: int, tokens: int) -> None:
    """Raises ValueError if the placeholders of all prompts are not as many as the tokens of all images."""
    if slots != tokens:
        raise ValueError(
            f"the prompts have {slots} image placeholders, but the images give {tokens} tokens; "
            "build both with the same processor"
        )


def repeat_images(features: VaryImageFeatures, slots: list[int], times: int) -> VaryImageFeatures:
    """The images of every prompt `times` over: of prompts A and B with images (1, 2) and (3), 1 2 1 2 3 3.

    `slots` are the prompts' numbers of placeholders.
    """
    images = list(features.pooler_output)
    repeated: list[Tensor] = []
    for wanted in slots:
        group: list[Tensor] = []
        while images and sum(map(len, group)) < wanted:
            group.append(images.pop(0))
        repeated += group * times
    return VaryImageFeatures(pooler_output=repeated)


AutoModel.register(VaryConfig, VaryModel, exist_ok=True)
AutoModelForImageTextToText.register(VaryConfig, VaryForConditionalGeneration, exist_ok=True)
