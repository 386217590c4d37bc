"""Pixel tensors: both published variants of a page, and lines of any width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vary.errors import InputError
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor, flatten_images
from vary.model.processing import VaryProcessor

assert VaryProcessor is not None  # its module registers the image processor with the library


@pytest.fixture(scope="module")
def lines() -> VaryImageProcessor:
    return VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_nano"])


@pytest.fixture(scope="module")
def small_pages() -> VaryImageProcessor:
    settings_ = {**PUBLISHED_IMAGE_SETTINGS["vary_toy"], "size": {"height": 12, "width": 20}, "clip_size": 8}
    return VaryImageProcessor(**settings_)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "key"), [("clip_branch", "pixel_values_clip"), ("vocabulary_branch", "pixel_values")]
)
def test_golden_pixels(name: str, key: str, shared_dir: Path) -> None:
    golden = json.loads((shared_dir / "golden" / "preprocess.json").read_text())[name]
    page = Image.open(shared_dir / "golden" / "preprocess_input.png")
    pixels = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_toy"])(page)[key][0]
    assert list(pixels.shape) == golden["shape"]
    assert np.abs(pixels.ravel()[golden["index"]] - golden["value"]).max() < 1e-5
    assert pixels.mean() == pytest.approx(golden["mean"], abs=1e-5)
    assert pixels.std() == pytest.approx(golden["std"], abs=1e-5)


def test_the_other_published_variant_differs_in_filter_and_normalisation() -> None:
    page = Image.fromarray(noise(1500, 1300))  # made smaller, where the two libraries differ
    processor = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_toy"])
    expected = cv2.resize(np.asarray(page), (1024, 1024), interpolation=cv2.INTER_LINEAR) / 255
    expected = (expected - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    batch = processor(page, variant="mindocr")
    np.testing.assert_allclose(batch["pixel_values"][0].transpose(1, 2, 0), expected, atol=1e-5)
    own = processor(page)
    assert np.abs(own["pixel_values"] - batch["pixel_values"]).max() > 0.1
    np.testing.assert_array_equal(own["pixel_values_clip"], batch["pixel_values_clip"])
    assert batch["pixel_values_clip"].shape == (1, 3, 224, 224)
    assert set(VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_tiny"])(page)) == {"pixel_values"}


@pytest.mark.parametrize("size", [(224, 224), (300, 417), (417, 300), (225, 224), (500, 223), (40, 610)])
def test_the_clip_branch_equals_the_library(size: tuple[int, int]) -> None:
    page = Image.fromarray(noise(*size))
    ours = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_toy"])(page)["pixel_values_clip"]
    theirs = CLIPImageProcessorPil()(page, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_very_long_strip_shows_clip_its_middle() -> None:
    strip = np.full((2, 20_000, 3), 255, dtype=np.uint8)
    strip[:, 9_990:10_010] = 0
    pixels = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_toy"])(strip)["pixel_values_clip"]
    assert pixels.shape == (1, 3, 224, 224)
    assert pixels.max() < 0


@pytest.mark.parametrize("mode", ["square", "line"])
def test_images_of_all_kinds_give_the_same_pixels(
    mode: str, small_pages: VaryImageProcessor, lines: VaryImageProcessor
) -> None:
    processor = small_pages if mode == "square" else lines
    array = noise(32, 50)
    kinds: list[Any] = [
        Image.fromarray(array),
        array,
        array.transpose(2, 0, 1),
        array / 255,
        torch.from_numpy(array),
        torch.from_numpy(array).permute(2, 0, 1).float() / 255,
        Image.fromarray(np.dstack([array, np.full((32, 50), 255, np.uint8)])),
    ]
    expected = processor(kinds[0])["pixel_values"]
    for kind in kinds:
        np.testing.assert_array_equal(processor(kind)["pixel_values"], expected)
    batch = processor([[kinds[0], kinds[1]], [kinds[2]], []], return_tensors="pt")
    assert batch["pixel_values"].shape == (3, *expected.shape[1:])
    assert batch["pixel_values"].dtype == torch.float32
    np.testing.assert_array_equal(processor(np.stack([array, array]))["pixel_values"][1], expected[0])


def test_transparency_is_white(lines: VaryImageProcessor) -> None:
    clear = Image.new("RGBA", (16, 32), (0, 0, 0, 0))
    palette = Image.new("P", (16, 32), 0)
    palette.info["transparency"] = 0
    white = lines(np.full((32, 16), 255, np.uint8))["pixel_values"]
    for image in (clear, palette, Image.new("LA", (16, 32), (0, 0))):
        np.testing.assert_array_equal(lines(image)["pixel_values"], white)


def test_lines_stand_at_the_left_on_white(lines: VaryImageProcessor) -> None:
    first, second = noise(32, 21, 1, 1)[..., 0], noise(32, 40, 1, 2)[..., 0]
    batch = lines([first, second])
    assert batch["pixel_values"].shape == (2, 1, 32, 48)
    assert batch["pixel_values"].dtype == np.float32
    assert batch["pixel_widths"].tolist() == [32, 48]
    assert batch["pixel_widths"].dtype == np.int64
    np.testing.assert_allclose(batch["pixel_values"][0, 0, :, :21], (first / 255 - 0.8) / 0.3, atol=1e-6)
    np.testing.assert_allclose(batch["pixel_values"][0, 0, :, 21:], (1 - 0.8) / 0.3, atol=1e-6)
    alone = lines(first)
    np.testing.assert_array_equal(alone["pixel_values"][0], batch["pixel_values"][0, :, :, :32])


def test_a_line_of_another_height_keeps_its_shape(lines: VaryImageProcessor) -> None:
    batch = lines([Image.fromarray(noise(64, 300)), Image.fromarray(noise(16, 5))])
    assert batch["pixel_widths"].tolist() == [160, 16]
    with pytest.raises(InputError, match="64 pixels high, expected 32"):
        lines(noise(64, 300), do_resize=False)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 300)), min_size=1, max_size=4))
def test_widths_are_known_without_the_images(sizes: list[tuple[int, int]], lines: VaryImageProcessor) -> None:
    batch = lines([np.zeros(size, np.uint8) for size in sizes])
    assert batch["pixel_widths"].tolist() == [lines.rounded_width(*size) for size in sizes]
    assert batch["pixel_values"].shape == (len(sizes), 1, 32, max(batch["pixel_widths"]))
    assert all(width % 16 == 0 < width for width in batch["pixel_widths"])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 6, 7), np.uint8), r"shape \(5, 6, 7\) is no image"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((5, 5), np.uint16), "type uint16; expected uint8"),
        (np.full((5, 5), 200.0), "between 0 and 1"),
        (np.full((5, 5), np.nan), "between 0 and 1"),
        (np.zeros((0, 5), np.uint8), "0 pixels|5x0 pixels"),
        (None, "no image"),
        ([], "no images were given"),
        ("https://example.org/page.png", "not fetched"),
        ("absent.png", "absent.png: expected an image file"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str, lines: VaryImageProcessor) -> None:
    with pytest.raises(InputError, match=message):
        lines(image)


def test_a_local_path_is_opened(tmp_path: Path, small_pages: VaryImageProcessor) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "page.png")
    expected = small_pages(noise(20, 30))["pixel_values"]
    for path in (tmp_path / "page.png", str(tmp_path / "page.png")):
        np.testing.assert_array_equal(small_pages([path])["pixel_values"], expected)


def test_settings_that_would_do_nothing_are_refused(small_pages: VaryImageProcessor) -> None:
    with pytest.raises(ValueError, match="do_center_crop has no effect"):
        small_pages(noise(9, 9), do_center_crop=True)
    with pytest.raises(ValueError, match="mode is 'column'"):
        VaryImageProcessor(mode="column")
    with pytest.raises(InputError, match="9x9 pixels, expected 20x12"):
        small_pages(noise(9, 9), do_resize=False)
    plain = small_pages(noise(12, 20), do_resize=False, do_rescale=False, do_normalize=False)["pixel_values"]
    np.testing.assert_array_equal(plain[0], noise(12, 20).transpose(2, 0, 1))


@pytest.mark.parametrize("name", list(PUBLISHED_IMAGE_SETTINGS))
def test_saving_and_loading_keeps_the_settings(name: str, tmp_path: Path) -> None:
    processor = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS[name])
    processor.save_pretrained(tmp_path)
    for loaded in (
        VaryImageProcessor.from_pretrained(tmp_path),
        AutoImageProcessor.from_pretrained(tmp_path),
    ):
        assert type(loaded) is VaryImageProcessor
        assert loaded.to_dict() == processor.to_dict()
        assert loaded.model_input_names == processor.model_input_names
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert ("line_height" in stored) == (name == "vary_nano")
    assert ("size" in stored) == (name != "vary_nano")


def test_flattening_keeps_the_order() -> None:
    assert flatten_images([1, [2, (3, [])], [[4]]]) == [1, 2, 3, 4]
