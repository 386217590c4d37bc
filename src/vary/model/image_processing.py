"""Page images and line images to pixel tensors.

Two modes, chosen by the checkpoint's own configuration:

- `"square"` (Vary): the page is resized to one size for the vocabulary branch, whatever its shape, and, where
  the checkpoint has a CLIP branch, its shortest edge is resized and the centre cropped for that.
- `"line"` (vary-nano): gray lines of one height and of any width, padded with white on the right.

A checkpoint may have other preprocessings beside its own, by name: its *variants*.

Resizing is Pillow's or OpenCV's, as it was when the checkpoint was trained: torchvision's differs, and so
would the features.  OpenCV's looks at the nearest pixels only, where Pillow's smooths what it makes smaller.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    PILImageResampling,
    load_image,
)
from transformers.processing_utils import ImagesKwargs, Unpack

from vary.errors import InputError, TaskError, did_you_mean

__all__ = [
    "PUBLISHED_IMAGE_SETTINGS",
    "VaryImageProcessor",
    "VaryImageProcessorKwargs",
    "as_pillow",
    "flatten_images",
]

_CLIP_BRANCH = {
    "clip_size": 224,
    "clip_resample": PILImageResampling.BICUBIC,
    "clip_image_mean": OPENAI_CLIP_MEAN,
    "clip_image_std": OPENAI_CLIP_STD,
}
_AUTHORS_PAGE = {
    "mode": "square",
    "size": {"height": 1024, "width": 1024},
    "resample": PILImageResampling.BICUBIC,
    "image_mean": OPENAI_CLIP_MEAN,
    "image_std": OPENAI_CLIP_STD,
}
_IMAGENET_PAGE = {
    "mode": "square",
    "size": {"height": 1024, "width": 1024},
    "resizer": "opencv",
    "resample": PILImageResampling.BILINEAR,
    "image_mean": IMAGENET_DEFAULT_MEAN,
    "image_std": IMAGENET_DEFAULT_STD,
}
_GRAY_LINE = {
    "mode": "line",
    "line_height": 32,
    "width_multiple": 16,
    "resample": PILImageResampling.BICUBIC,
    "image_mean": [0.8],
    "image_std": [0.3],
}

_MINDOCR_VARIANT = {name: _IMAGENET_PAGE[name] for name in ("resizer", "resample", "image_mean", "image_std")}

PUBLISHED_IMAGE_SETTINGS = MappingProxyType(
    {
        "vary_toy": {**_AUTHORS_PAGE, **_CLIP_BRANCH, "variants": {"mindocr": _MINDOCR_VARIANT}},
        "vary_tiny": _IMAGENET_PAGE,
        "vary_tiny_600k": _AUTHORS_PAGE,
        "got_ocr2": _AUTHORS_PAGE,
        "vary_nano": _GRAY_LINE,
    }
)
"""Keyword arguments of `VaryImageProcessor` by model: what the authors' demos feed Vary-toy (with the variant
that MindOCR's port feeds it), Vary-tiny, Vary-tiny-600k and GOT-OCR2.0, and vary-nano's lines."""

_MODE_DEFAULTS = {"square": _AUTHORS_PAGE, "line": _GRAY_LINE}
_VARIANT_FIELDS = frozenset(
    [
        *("resizer", "resample", "image_mean", "image_std"),
        *("clip_resample", "clip_image_mean", "clip_image_std"),
    ]
)
"""What a variant may change: a checkpoint's sizes are fixed, how its pixels come about is not."""
_OPENCV_FILTERS = {
    PILImageResampling.BILINEAR: cv2.INTER_LINEAR,
    PILImageResampling.BICUBIC: cv2.INTER_CUBIC,
}
_WHITE = 255
_LONGEST_CLIP_STRIP = 16
"""Beyond this ratio of sides the centre is cut out before resizing: a resized strip would fill the memory."""


class VaryImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """The fields of `VaryImageProcessor` beyond the library's own.

    mode (`str`): `"square"` or `"line"`.
    resizer (`str`): whose `resample` a page is resized with: `"pillow"` or `"opencv"`.
    clip_size (`int`): shortest edge and crop of the CLIP branch in pixels; None: no such branch.
    clip_resample (`int`): its Pillow filter.
    clip_image_mean, clip_image_std (`list[float]`): its normalisation.
    line_height (`int`): height of a line image in pixels (mode "line").
    width_multiple (`int`): a line's width is rounded up to a multiple of this: one image token each.
    variants (`dict[str, dict]`): other preprocessings by name, each the fields in which it differs.
    variant (`str`): at a call, which of them to use; None: the checkpoint's own.
    """

    mode: str
    resizer: str
    clip_size: int | None
    clip_resample: Any
    clip_image_mean: float | list[float] | tuple[float, ...] | None
    clip_image_std: float | list[float] | tuple[float, ...] | None
    line_height: int | None
    width_multiple: int | None
    variants: dict[str, Any] | None
    variant: str | None


class VaryImageProcessor(PilBackend):
    """Makes `pixel_values` (and `pixel_values_clip`, `pixel_widths`) of images.

    Mode "square" returns `pixel_values` (B, 3, height, width) and, with `clip_size`, `pixel_values_clip`
    (B, 3, clip_size, clip_size).  Mode "line" returns `pixel_values` (B, 1, line_height, W), where W is the
    widest line's width rounded up to `width_multiple`, and `pixel_widths` (B,): each line's own width,
    rounded up likewise.  All pixels are float32, `(x / 255 - mean) / std`.

    Images may be Pillow images, arrays (H, W), (H, W, C) or (C, H, W) (uint8, or floating point from 0 to 1),
    tensors of these shapes, and lists of them, nested or not.  Transparency is laid on white.  Raises
    `InputError` for anything else.

    `variant="mindocr"` takes the preprocessing of that name in `variants`; `TaskError` if there is none.
    """

    valid_kwargs = VaryImageProcessorKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012 - the library's convention
    do_resize = True
    do_rescale = True
    do_normalize = True

    mode: Literal["square", "line"] = "square"
    resizer: Literal["pillow", "opencv"] = "pillow"
    clip_size: int | None = None
    clip_resample: PILImageResampling | int | None = None
    clip_image_mean: Sequence[float] | None = None
    clip_image_std: Sequence[float] | None = None
    line_height: int | None = None
    width_multiple: int | None = None
    variants: Mapping[str, Mapping[str, Any]] | None = None
    variant = None  # only an argument of a call

    def __init__(self, **kwargs: Unpack[VaryImageProcessorKwargs]) -> None:
        if kwargs.pop("variant", None) is not None:
            raise ValueError("variant chooses one of `variants` at a call; a processor is made without it")
        mode = kwargs.get("mode", self.mode)
        if mode not in _MODE_DEFAULTS:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(_MODE_DEFAULTS)}")
        settings: dict[str, Any] = {
            **_MODE_DEFAULTS[mode],
            **{k: v for k, v in kwargs.items() if v is not None},
        }
        if settings.get("clip_size") is not None:
            settings = {**_CLIP_BRANCH, **settings}
        settings["variants"] = _plain_variants(settings.get("variants") or {}) or None
        super().__init__(**settings)
        self.model_input_names = ["pixel_values"]
        if self.mode == "line":
            self.model_input_names.append("pixel_widths")
        elif self.clip_size is not None:
            self.model_input_names.append("pixel_values_clip")

    def preprocess(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """Make the pixels; fields given here are stronger than the variant's, and those than the own ones."""
        variant = kwargs.pop("variant", None)
        if variant is None:
            return super().preprocess(images, *args, **kwargs)
        known = self.variants or {}
        if variant not in known:
            raise TaskError(
                f"unknown preprocessing '{variant}'; this checkpoint has {', '.join(known) or 'no other'}"
                f"{did_you_mean(variant, known)}"
            )
        given = {name: value for name, value in kwargs.items() if value is not None}
        return super().preprocess(images, *args, **{**known[variant], **given})

    def fetch_images(self, images: Any) -> Any:
        """Open images given as local paths or base64, in any nesting; nothing is ever downloaded."""
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        if not isinstance(images, (str, os.PathLike)):
            return images
        name = os.fspath(images)
        if name.startswith(("http://", "https://")):
            raise InputError(f"{name}: addresses are not fetched; download the image and give its path")
        try:
            return load_image(name)
        except (OSError, ValueError) as error:
            raise InputError(f"{name[:80]}: expected an image file; {str(error)[:200]}") from error

    def process_image(self, image: Any, **kwargs: Any) -> Image.Image:
        """Convert one image of any accepted kind to a Pillow image: RGB, or L in mode "line"."""
        return _to_mode(as_pillow(image), "L" if kwargs.get("mode", self.mode) == "line" else "RGB")

    def rounded_width(self, height: int, width: int) -> int:
        """The width in pixels that an image of this size takes at `line_height`, rounded up."""
        assert self.line_height is not None
        assert self.width_multiple is not None
        scaled = _line_width(height, width, self.line_height)
        return math.ceil(scaled / self.width_multiple) * self.width_multiple

    def _prepare_images_structure(self, images: Any, expected_ndims: int = 3) -> list[Any]:
        flat = flatten_images(self.fetch_images(images))
        if not flat:
            raise InputError("no images were given; expected at least one")
        return flat

    def _validate_preprocess_kwargs(self, **kwargs: Any) -> None:
        for name in ("do_center_crop", "do_pad", "crop_size", "pad_size"):
            if kwargs.get(name):
                raise ValueError(
                    f"{name} has no effect here; see `mode`, `size`, `clip_size` and `width_multiple`"
                )
        if kwargs["mode"] not in _MODE_DEFAULTS:
            raise ValueError(f"mode is {kwargs['mode']!r}, expected one of {', '.join(_MODE_DEFAULTS)}")
        if kwargs["mode"] == "square":
            super()._validate_preprocess_kwargs(**kwargs)

    def _preprocess(
        self, images: list[Image.Image], *, return_tensors: Any = None, **settings: Any
    ) -> BatchFeature:
        make = _line_batch if settings["mode"] == "line" else _square_batch
        return BatchFeature(data=make(images, settings), tensor_type=return_tensors)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, without what follows from the mode."""
        settings: dict[str, Any] = super().to_dict()
        settings.pop("model_input_names", None)
        return settings


def _plain_variants(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The variants as a configuration file stores them.

    Raises ValueError for a field that is none, or that decides more than the values of pixels.
    """
    plain = {}
    for name, fields in variants.items():
        if name == "default":
            raise ValueError(
                "a variant cannot be called 'default': that is the processor's own preprocessing"
            )
        if wrong := sorted(set(fields) - _VARIANT_FIELDS):
            known = ", ".join(sorted(_VARIANT_FIELDS))
            raise ValueError(f"variant {name!r} sets {', '.join(wrong)}; expected some of {known}")
        plain[name] = {
            field: list(value) if isinstance(value, list | tuple) else value
            for field, value in fields.items()
        }
    return plain


def flatten_images(images: Any) -> list[Any]:
    """List the images of nested lists and tuples in order; an array of four dimensions is a list too."""
    if isinstance(images, (list, tuple)):
        return [image for part in images for image in flatten_images(part)]
    return list(images) if getattr(images, "ndim", 0) == 4 else [images]


def _square_batch(images: Iterable[Image.Image], settings: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Resize pages to (B, 3, height, width), and to (B, 3, clip_size, clip_size) for CLIP."""
    size = (settings["size"].width, settings["size"].height)
    images = list(images)
    pages = [_resized(image, size, settings) if settings["do_resize"] else image for image in images]
    wrong = next((page.size for page in pages if page.size != size), None)
    if wrong is not None:
        raise InputError(
            f"an image is {wrong[0]}x{wrong[1]} pixels, expected {size[0]}x{size[1]} with do_resize=False"
        )
    batch = {"pixel_values": _normalise(np.stack([np.asarray(page) for page in pages]), settings)}
    clip_size = settings["clip_size"]
    if clip_size is not None:
        crops = [_centre(image, clip_size, settings["clip_resample"]) for image in images]
        normalisation = {"image_mean": settings["clip_image_mean"], "image_std": settings["clip_image_std"]}
        batch["pixel_values_clip"] = _normalise(
            np.stack([np.asarray(c) for c in crops]), settings | normalisation
        )
    return batch


def _resized(image: Image.Image, size: tuple[int, int], settings: dict[str, Any]) -> Image.Image:
    """A page in another size (width, height), by the resizer and filter of the settings."""
    resizer, resample = settings["resizer"], settings["resample"]
    if resizer == "pillow":
        return image.resize(size, resample)
    if resizer != "opencv" or resample not in _OPENCV_FILTERS:
        raise ValueError(
            f"resizer is {resizer!r} with filter {resample!r}, expected pillow, or opencv with one of "
            f"{', '.join(str(int(known)) for known in _OPENCV_FILTERS)}"
        )
    return Image.fromarray(cv2.resize(np.asarray(image), size, interpolation=_OPENCV_FILTERS[resample]))


def _line_batch(images: Iterable[Image.Image], settings: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Put lines into (B, 1, line_height, W), each at the left on white, and list their widths (B,)."""
    height, multiple = settings["line_height"], settings["width_multiple"]
    lines = []
    for image in images:
        if image.height != height and not settings["do_resize"]:
            raise InputError(
                f"a line image is {image.height} pixels high, expected {height} with do_resize=False"
            )
        width = _line_width(image.height, image.width, height)
        same = image.size == (width, height)
        lines.append(np.asarray(image if same else image.resize((width, height), settings["resample"])))
    widths = np.array([math.ceil(line.shape[1] / multiple) * multiple for line in lines], dtype=np.int64)
    batch = np.full((len(lines), height, int(widths.max()), 1), _WHITE, dtype=np.uint8)
    for row, line in zip(batch, lines, strict=True):
        row[:, : line.shape[1], 0] = line
    return {"pixel_values": _normalise(batch, settings), "pixel_widths": widths}


def _line_width(height: int, width: int, line_height: int) -> int:
    return width if height == line_height else max(1, round(width * line_height / height))


def _normalise(pixels: NDArray[np.uint8], settings: dict[str, Any]) -> NDArray[np.float32]:
    """Map uint8 (B, H, W, C) to float32 (B, C, H, W): times the rescale factor, minus mean, by std."""
    values = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    if settings["do_rescale"]:
        values *= np.float32(settings["rescale_factor"])
    if settings["do_normalize"]:
        values -= np.asarray(settings["image_mean"], dtype=np.float32).reshape(-1, 1, 1)
        values /= np.asarray(settings["image_std"], dtype=np.float32).reshape(-1, 1, 1)
    return values


def _centre(image: Image.Image, size: int, resample: int) -> Image.Image:
    """Resize the shortest edge to `size` and cut the square in the middle."""
    width, height = image.size
    shortest = min(width, height)
    if max(width, height) > _LONGEST_CLIP_STRIP * shortest:
        left, top = (width - shortest) // 2, (height - shortest) // 2
        return image.crop((left, top, left + shortest, top + shortest)).resize((size, size), resample)
    scaled = (size * width // shortest, size * height // shortest)
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    return image.resize(scaled, resample).crop((left, top, left + size, top + size))


def as_pillow(image: Any) -> Image.Image:
    """Make a Pillow image of an array or tensor (see `VaryImageProcessor`), or pass a Pillow image on."""
    return image if isinstance(image, Image.Image) else Image.fromarray(_to_uint8(image))


def _to_mode(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (_WHITE,) * 4), image)
    if 0 in image.size:
        raise InputError(f"an image is {image.width}x{image.height} pixels; expected at least one pixel")
    return image if image.mode == mode else image.convert(mode)


def _to_uint8(image: Any) -> NDArray[np.uint8]:
    """Bring an array or tensor to uint8 (H, W) or (H, W, C)."""
    array = np.asarray(image.cpu() if hasattr(image, "cpu") else image)
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[-1] in (3, 4)):
        raise InputError(
            f"an array of shape {array.shape} is no image; expected (H, W), (H, W, C) or (C, H, W)"
        )
    if array.dtype == np.bool_:
        array = array * _WHITE
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min(initial=0.0) >= 0 and array.max(initial=0.0) <= 1):
            raise InputError("an image of floating point numbers must lie between 0 and 1; or give uint8")
        array = np.rint(array * _WHITE)
    elif array.dtype != np.uint8:
        raise InputError(f"an image has the type {array.dtype}; expected uint8 or floating point from 0 to 1")
    return np.ascontiguousarray(array, dtype=np.uint8)
