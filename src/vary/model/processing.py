"""Images and prompts to model inputs: `VaryProcessor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import AutoImageProcessor, AutoProcessor, BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import MultiModalData, ProcessorMixin

from vary.errors import CheckpointError, InputError, TaskError
from vary.model.configuration import VaryConfig
from vary.model.image_processing import VaryImageProcessor, as_pillow, flatten_images
from vary.model.tokenization import IMAGE_END_TOKEN, IMAGE_START_TOKEN, IMAGE_TOKEN

__all__ = ["VaryProcessor"]

_PAGE_TOKENS = 256


class VaryProcessor(ProcessorMixin):
    """Joins the image processor and the tokenizer: text with image slots and images in, model inputs out.

    A prompt holds `<img><imgpad></img>` for each image (a chat template writes it); the one `<imgpad>`
    becomes as many as the image has tokens: `image_seq_length` for a page, one for every `width_multiple`
    pixels of a line.  Rows of a batch are padded on the left.  Returns `input_ids` and `attention_mask`
    (batch, tokens), `pixel_values` (images, channels, height, width) and, where the image processor makes
    them, `pixel_values_clip` and `pixel_widths`; the images of all prompts follow each other in order.

    `image_seq_length` is the number of tokens of a page, 256 unless given; not for line images.
    """

    text_kwargs = {"padding": True}  # noqa: RUF012 - the library's convention

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

    def build_inputs(
        self,
        images: Sequence[Any],
        query: str = "",
        *,
        template: str | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Make the inputs of one prompt per element of `images` (an image or a list), all asking `query`.

        `template` names one of the checkpoint's chat templates; None takes its default.  Special tokens
        spelled out in the query (`<|im_end|>`, `<imgpad>`) stay text.  Raises `TaskError` when the layout has
        no place for a query, `InputError` when there are no images.
        """
        conversations = []
        for shown in images:
            pictures = flatten_images(self.image_processor.fetch_images(shown))
            content = [{"type": "image", "image": as_pillow(picture)} for picture in pictures]
            asked = [{"type": "text", "text": query}] if query else []
            conversations.append([{"role": "user", "content": [*content, *asked]}])
        if not conversations:
            raise InputError("no images were given; expected at least one")
        try:
            return self.apply_chat_template(
                conversations,
                chat_template=template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors=return_tensors,
                sanitize_control_tokens=bool(query),
            )
        except TemplateError as error:
            raise TaskError(str(error)) from error

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """Flatten nested images to a list of Pillow images in order; text becomes a list."""
        images, text, videos, audio = super().prepare_inputs_layout(images=images, text=text, **kwargs)
        if images is not None:
            images = [as_pillow(image) for image in flatten_images(images)]
        return images, text, videos, audio

    def replace_image_token(self, image_inputs: Mapping[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Write the image tokens of one image."""
        if self.image_processor.mode == "line":
            count = int(image_inputs["pixel_widths"][image_idx]) // int(self.image_processor.width_multiple)
        else:
            count = int(self.image_seq_length or 0)
        return IMAGE_TOKEN * count

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
