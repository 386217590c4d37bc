"""Images and prompts to model inputs: `VaryProcessor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoImageProcessor, AutoProcessor, BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import MultiModalData, ProcessingKwargs, ProcessorMixin

from vary.errors import CheckpointError, InputError, TaskError, did_you_mean
from vary.model.chat_rendering import Message, plain_text_options, render_chat
from vary.model.configuration import VaryConfig
from vary.model.image_processing import VaryImageProcessor, as_pillow, flatten_images
from vary.model.tokenization import ENCODING, IMAGE_END_TOKEN, IMAGE_START_TOKEN, IMAGE_TOKEN

__all__ = ["DEFAULT_LAYOUT", "VaryProcessor"]

DEFAULT_LAYOUT = "default"
_PAGE_TOKENS = 256
_MARK = -1
_TEXT_DEFAULTS = {"padding": True, "add_special_tokens": False}


class _Defaults(ProcessingKwargs, total=False):  # type: ignore[call-arg]
    """Where older versions of Transformers (5.17) look for defaults; newer ones look for `text_kwargs`."""

    _defaults = {"text_kwargs": _TEXT_DEFAULTS}  # noqa: RUF012 - the library's way


class VaryProcessor(ProcessorMixin):
    """Joins the image processor and the tokenizer: text with image slots and images in, model inputs out.

    A prompt holds `<img><imgpad></img>` for each image (a chat template writes it); the one `<imgpad>`
    becomes as many as the image has tokens: `image_seq_length` for a page, one for every `width_multiple`
    pixels of a line.  Rows of a batch are padded on the left.  Returns `input_ids` and `attention_mask`
    (batch, tokens), `pixel_values` (images, channels, height, width) and, where the image processor makes
    them, `pixel_values_clip` and `pixel_widths`; the images of all prompts follow each other in order.

    `image_seq_length` is the number of tokens of a page, 256 unless given; not for line images.

    A *layout* is a named chat template together with the named preprocessing of the images: `layouts` lists
    them, `default` first.  Templates are whole: no tokenizer adds anything in front of a prompt.
    """

    text_kwargs = _TEXT_DEFAULTS
    valid_processor_kwargs = _Defaults

    def __init__(
        self,
        image_processor: VaryImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        image_seq_length: int | None = None,
        chat_template: str | Mapping[str, str] | None = None,
    ) -> None:
        if image_processor is None or tokenizer is None:
            raise CheckpointError("a VaryProcessor needs an image processor and a tokenizer")
        lines = image_processor.mode == "line"
        if lines and image_seq_length is not None:
            raise CheckpointError(
                "image_seq_length is for pages; a line has one token for each width_multiple pixels"
            )
        self.image_seq_length = image_seq_length if lines else image_seq_length or _PAGE_TOKENS
        self.image_token, self.image_token_id = IMAGE_TOKEN, _token_id(tokenizer, IMAGE_TOKEN)
        self.image_start_token_id = _token_id(tokenizer, IMAGE_START_TOKEN)
        self.image_end_token_id = _token_id(tokenizer, IMAGE_END_TOKEN)
        template = dict(chat_template) if isinstance(chat_template, Mapping) else chat_template
        super().__init__(image_processor, tokenizer, chat_template=template)

    @property
    def layouts(self) -> tuple[str, ...]:
        """The names of the layouts: of the chat templates, and of the image processor's variants."""
        templates = self.chat_template if isinstance(self.chat_template, Mapping) else {}
        others = [*templates, *(self.image_processor.variants or {})]
        return tuple(dict.fromkeys([DEFAULT_LAYOUT, *others]))

    def build_inputs(
        self,
        images: Sequence[Any],
        query: str = "",
        *,
        layout: str | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Make the inputs of one prompt per element of `images` (an image or a list), all asking `query`.

        `layout` names one of the checkpoint's layouts; None takes its default.  Special tokens spelled out in
        the query (`<|im_end|>`, `<imgpad>`) stay text.  Raises `TaskError` for an unknown layout and when the
        layout has no place for a query, `InputError` when there are no images.
        """
        template, variant = self._layout(layout)
        conversations = []
        for shown in images:
            pictures = flatten_images(self.image_processor.fetch_images(shown))
            content = [{"type": "image", "image": as_pillow(picture)} for picture in pictures]
            asked = [{"type": "text", "text": query}] if query else []
            conversations.append([{"role": "user", "content": [*content, *asked]}])
        if not conversations:
            raise InputError("no images were given; expected at least one")
        text_options = plain_text_options(self.tokenizer, [query]) if query else {}
        try:
            with ENCODING:
                return self.apply_chat_template(
                    conversations,
                    chat_template=template,
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    return_tensors=return_tensors,
                    processor_kwargs={"images_kwargs": {"variant": variant}} if variant else None,
                    **text_options,
                )
        except TemplateError as error:
            raise TaskError(str(error)) from error

    def build_chat_inputs(
        self, messages: Sequence[Message], images: Sequence[Any], *, layout: str | None = None
    ) -> BatchFeature:
        """Make the inputs of one conversation that goes on with the model's next answer.

        Args:
            messages: as in `chat_ids`.
            images: one for each `{"type": "image"}` of the messages, in their order.
            layout: one of `layouts`.

        Raises `TaskError` as `build_inputs` does, `InputError` where images and places differ in number.
        """
        pixels = self.image_inputs(images, layout=layout) if images else BatchFeature({})
        counts = self.image_token_counts(pixels)
        ids = torch.tensor([self.chat_ids(messages, counts, layout=layout)])
        return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids), **pixels})

    def image_inputs(self, images: Sequence[Any], *, layout: str | None = None) -> BatchFeature:
        """The pixel tensors of some images in the preprocessing of a layout."""
        pictures = [as_pillow(image) for image in flatten_images(self.image_processor.fetch_images(images))]
        return self.image_processor(pictures, variant=self._layout(layout)[1], return_tensors="pt")

    def image_token_counts(self, pixels: Mapping[str, Any]) -> list[int]:
        """How many tokens each of the images has that `image_inputs` prepared."""
        return [self._image_tokens(pixels, index) for index in range(len(pixels.get("pixel_values", ())))]

    def chat_ids(
        self, messages: Sequence[Message], image_tokens: Sequence[int], *, layout: str | None = None
    ) -> list[int]:
        """The ids of a conversation up to where the model's next answer begins, without seeing its images.

        Args:
            messages: each with a role (`system`, `user` or `assistant`) and a content: a text, or a list of
                `{"type": "text", "text": ...}` and `{"type": "image"}`.  Special tokens spelled out in texts
                stay text.  An assistant's message may have `ids`, the very tokens that it wrote: they stand
                in the prompt as they are, whatever the tokenizer would make of their text.
            image_tokens: how many tokens each image has, in the order of the images.
            layout: one of `layouts`.

        Raises `TaskError` as `build_inputs` does, `InputError` where images and places differ in number.
        """
        with ENCODING:
            return render_chat(
                self.tokenizer,
                messages,
                image_tokens,
                template=self._template(layout),
                image_token_id=self.image_token_id,
            )

    def answer_header(self, layout: str | None = None) -> list[int]:
        """The ids that an answer begins with in a layout although they are no part of its text.

        MindOCR's layout ends its prompts before the assistant's header, which the model writes itself.
        """
        self.check_layout(layout)
        asked: list[Message] = [{"role": "user", "content": "?"}]
        try:
            prompt = self.chat_ids(asked, (), layout=layout)
            answered = [*asked, {"role": "assistant", "content": "", "ids": [_MARK]}]
            whole = self.chat_ids(answered, (), layout=layout)
        except TaskError:  # the layout has no place for a text, and answers begin right after the image
            return []
        return whole[len(prompt) : whole.index(_MARK)]

    def _template(self, layout: str | None) -> str:
        """The Jinja text of a layout's template."""
        name = self._layout(layout)[0] or DEFAULT_LAYOUT
        template = self.chat_template
        chosen: str = template[name] if isinstance(template, Mapping) else template
        return chosen

    def check_layout(self, name: str | None) -> str | None:
        """The name of a layout as it was given; `TaskError`, with those there are, if there is none of it."""
        self._layout(name)
        return name

    def _layout(self, name: str | None) -> tuple[str | None, str | None]:
        """The chat template and the image variant of a layout by their names; None for the default one.

        Raises `TaskError` for an unknown name, `CheckpointError` if there is no template at all.
        """
        if self.chat_template is None:
            raise CheckpointError(
                "this checkpoint has no chat template, so there is no prompt for it; "
                "add a chat_template.jinja (see vary.model.chat_templates)"
            )
        if name is not None and name not in self.layouts:
            raise TaskError(
                f"unknown layout '{name}'; this checkpoint has {', '.join(self.layouts)}"
                f"{did_you_mean(name, self.layouts)}"
            )
        named = isinstance(self.chat_template, Mapping) and name in self.chat_template
        return name if named else None, name if name in (self.image_processor.variants or {}) else None

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """Flatten nested images to a list of Pillow images in order; text becomes a list."""
        images, text, videos, audio = super().prepare_inputs_layout(images=images, text=text, **kwargs)
        if images is not None:
            images = [as_pillow(image) for image in flatten_images(images)]
        return images, text, videos, audio

    def replace_image_token(self, image_inputs: Mapping[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Write the image tokens of one image."""
        return IMAGE_TOKEN * self._image_tokens(image_inputs, image_idx)

    def _image_tokens(self, image_inputs: Mapping[str, Any], index: int) -> int:
        """How many tokens an image has, whose pixels are in `image_inputs`."""
        if self.image_processor.mode == "line":
            return int(image_inputs["pixel_widths"][index]) // int(self.image_processor.width_multiple)
        return int(self.image_seq_length or 0)

    def _get_num_multimodal_tokens(
        self, image_sizes: Sequence[tuple[int, int]] | None = None, **kwargs: Any
    ) -> MultiModalData:
        """Count the image tokens of images of these sizes, (height, width) in pixels, without seeing them."""
        if image_sizes is None:
            return MultiModalData()
        if self.image_processor.mode == "line":
            multiple = self.image_processor.width_multiple
            tokens = [self.image_processor.rounded_width(*size) // multiple for size in image_sizes]
        else:
            tokens = [self.image_seq_length] * len(image_sizes)
        return MultiModalData(num_image_tokens=tokens, num_image_patches=[1] * len(tokens))


def _token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    found = tokenizer.get_added_vocab().get(token)
    if found is None:
        raise CheckpointError(
            f"the tokenizer has no special token {token}; make it with vary.model.tokenization"
        )
    return int(found)


AutoImageProcessor.register(VaryConfig, image_processor_classes={"pil": VaryImageProcessor}, exist_ok=True)
AutoProcessor.register(VaryConfig, VaryProcessor, exist_ok=True)
