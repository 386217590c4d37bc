"""Pixels of every kind to one kind: 8-bit RGB, dark on white as on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageOps

from vary.errors import InputError

__all__ = ["image_from_array", "to_rgb"]

_FULL_SCALES = (2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1)
_WHITE_IS_ZERO = 0  # of the TIFF tag PhotometricInterpretation


def to_rgb(image: Image.Image) -> Image.Image:
    """A new RGB image of the same size, without metadata, that shows what ``image`` shows on white paper.

    Transparent parts are laid on white (on black where nothing would be seen on white); 16-bit and float gray
    is scaled to 8 bits; CMYK is taken as Adobe stores it.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        gray = Image.fromarray(_to_uint8(np.asarray(image)))
        if _white_is_zero(image):
            gray = ImageOps.invert(gray)
        rgb = gray.convert("RGB")
    elif image.has_transparency_data:
        rgb = _on_paper(image.convert("RGBA"))
    elif image.mode == "CMYK":
        rgb = _cmyk_to_rgb(image)
    elif image.mode == "LAB":
        rgb = image.getchannel("L").convert("RGB")
    else:
        rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def image_from_array(array: NDArray[Any], name: str) -> Image.Image:
    """An image of an array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA.

    Unsigned and signed integers, bool (True is white) and floats (0 to 1, or 0 to 255).  Raises InputError
    for other shapes and dtypes.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in {2, 3} or channels not in {1, 3, 4} or array.size == 0:
        hint = "; move the channels to the end" if array.ndim == 3 and array.shape[0] in {1, 3, 4} else ""
        hint = "; give the pages one by one" if array.ndim == 4 else hint
        raise InputError(
            f"{name}: an array of shape {array.shape} is not a page, "
            f"expected (height, width), (height, width, 3) RGB or (height, width, 4) RGBA{hint}"
        )
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{name}: an array of {array.dtype} is not a page, expected uint8, uint16, bool or float"
        )
    pixels = array[:, :, 0] if array.ndim == 3 and channels == 1 else array
    return Image.fromarray(_to_uint8(pixels))


def _to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale to 0..255 from the smallest usual full scale that holds the values, so that nothing is clipped.

    16-bit files often hold 8-, 10- or 12-bit data; a page that is that dark by intent does not exist.
    """
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * 255
    values = np.nan_to_num(pixels.astype(np.float32 if pixels.dtype.itemsize <= 4 else np.float64))
    low, high = float(values.min()), float(values.max())
    if low < 0:
        values, high = values - low, high - low
    scales = (1, *_FULL_SCALES) if pixels.dtype.kind == "f" else _FULL_SCALES
    full = next((scale for scale in scales if high <= scale), high)
    scaled: NDArray[np.uint8] = np.rint(values * (255 / full)).astype(np.uint8)
    return scaled


def _white_is_zero(image: Image.Image) -> bool:
    """Pillow applies the tag to 1- and 8-bit TIFF frames, but not to deeper ones."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO)


def _on_paper(image: Image.Image) -> Image.Image:
    """Lay an RGBA image on white."""
    alpha = image.getchannel("A")
    colours = image.convert("RGB")
    lowest, highest = alpha.getextrema()
    if highest == 0 or lowest == 255:  # wholly transparent: some programs leave the channel unset
        return colours
    page = Image.new("RGB", image.size, "white")
    page.paste(colours, mask=alpha)
    if lowest != highest and page.convert("L").getcolors(1) is not None:  # one colour: white text, unseen
        page.paste("black", (0, 0, *image.size))
        page.paste(colours, mask=alpha)
    return page


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Pillow takes every CMYK JPEG for an inverted (Adobe) one; those without Adobe's marker are not."""
    if image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)
    return image.convert("RGB")
