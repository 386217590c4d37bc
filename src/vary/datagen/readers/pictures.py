"""The images that records name: looked up in one folder and never outside of it, read as pages are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from vary.datagen.sample import Box
from vary.errors import InputError
from vary.inputs.pages import DEFAULT_LIMITS, InputLimits, PageImage, open_page

__all__ = ["ImageFolder", "Picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright image: pixels uint8 (H, W, 3) RGB, and how it was turned to stand so."""

    pixels: NDArray[np.uint8]
    rotation: int = 0
    mirrored: bool = False

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    def moved(self, box: Box, width: int, height: int) -> Box:
        """A box of the image as it is stored, `width` x `height` px, on the upright image."""
        left, right = (width - box.right, width - box.left) if self.mirrored else (box.left, box.right)
        top, bottom = box.top, box.bottom
        for _ in range(self.rotation // 90):  # a quarter clockwise: (x, y) -> (height - y, x)
            left, top, right, bottom = height - bottom, left, height - top, right
            width, height = height, width
        return Box(box.label, left, top, right, bottom, box.level)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Where a file of records has its images."""

    folder: Path
    limits: InputLimits = DEFAULT_LIMITS

    def find(self, name: str) -> Path:
        """The path of an image of the folder.

        Raises:
            InputError: for a name that is empty, absolute or leads out of the folder, also by a link, and
                where there is no such file.
        """
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if not name.strip() or "\0" in name:
            raise InputError("the image has no name")
        if "://" in name:
            raise InputError(
                f"image {name[:200]!r} is an address; fetch it, and name a file of the image folder"
            )
        if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in windows.parts:
            raise InputError(
                f"image {name[:200]!r} lies outside of the image folder; name it relative to that"
            )
        path = self.folder / name
        try:
            if not path.is_file():
                raise InputError(f"image {name[:200]!r} is not in the image folder")
            inside = path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "its name is none for a file"
            raise InputError(f"image {name[:100]!r} cannot be looked up, {reason}") from error
        if not inside:
            raise InputError(f"image {name[:200]!r} is a link that leads out of the image folder")
        return path

    def open(self, name: str) -> Picture:
        """Read an image.  Raises `InputError`, also for a broken or too large one."""
        path = self.find(name)
        try:
            page: PageImage = open_page(path, limits=self.limits)
        except InputError as error:  # the record's own name for it, which says nothing of this machine
            raise type(error)(str(error).replace(str(path), name)) from error
        return Picture(np.asarray(page.image, dtype=np.uint8), page.rotation, page.mirrored)

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of the upright image.  Raises `InputError` as `open`, which it does."""
        picture = self.open(name)
        return picture.width, picture.height
