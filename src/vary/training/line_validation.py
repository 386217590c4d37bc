"""A look at a line model while it trains: lines in fonts and from texts that it never sees in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vary.datagen.fonts import FontCatalogue, find_fonts
from vary.datagen.lines.engine import LineEngine, LineEngineConfig
from vary.errors import DataError
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures
from vary.training.data.line_sources import Line
from vary.training.data.lines import LineBatch, LineFormat, line_format, make_batches

__all__ = ["VALIDATION_FAMILIES", "LineValidation", "validation_engine", "validation_lines"]

VALIDATION_FAMILIES = ("Caladea", "Carlito", "Clear Sans*", "LXGW WenKai*", "PT Serif*", "Vollkorn")
"""Left out of training, whatever else is installed; patterns of family names."""

Lines = list[tuple[NDArray[np.uint8], str]]


def validation_engine(paint: LineEngineConfig) -> LineEngine:
    """Paints `paint`'s corpus (a held-out one, please) in the validation families.

    Raises DataError where none of them is installed.
    """
    config = replace(paint, exclude_fonts=())
    wanted = find_fonts(exclude=VALIDATION_FAMILIES, folders=config.font_folders)
    everything = find_fonts(folders=config.font_folders)
    families = set(everything.families) - set(wanted.families)
    faces = tuple(face for face in everything.faces if face.family in families)
    if not faces:
        raise DataError(
            f"none of the validation families is installed ({', '.join(VALIDATION_FAMILIES)}); install one "
            "(vary/datagen/font_packages.txt), or train without validation"
        )
    return LineEngine(config, fonts=FontCatalogue(faces))


def validation_lines(paint: LineEngineConfig, count: int = 128) -> Lines:
    """Lines of full length in the validation families, from `paint`'s corpus (a held-out one, please)."""
    engine = validation_engine(replace(paint, split="validation", seed=0))
    lines: Lines = []
    page = 0
    while len(lines) < count:
        found = [(line.image, line.text) for line in engine.page(page)]
        lines += found[: -(-count // 16)]
        page += 1
    return lines[:count]


class LineValidation:
    """Character error rates of the decoder (greedy) and of the CTC branch on fixed lines.

    Args:
        lines: by language.
        vocabulary: the `.tiktoken` file of the characters.
        distance: edits between two texts.
    """

    def __init__(
        self, lines: Mapping[str, Lines], vocabulary: Path, distance: Callable[[str, str], int]
    ) -> None:
        self.lines, self.vocabulary, self.distance = lines, vocabulary, distance
        self._batches: dict[str, list[LineBatch]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """`cer_decoder` and `cer_ctc`, of several languages with the language behind."""
        ends = [f"_{language}" for language in self.lines] if len(self.lines) > 1 else [""]
        return tuple(f"{name}{end}" for end in ends for name in ("cer_decoder", "cer_ctc"))

    @torch.inference_mode()
    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """Edits per character, by `names`."""
        assert isinstance(model, VaryForConditionalGeneration)
        form = line_format(model, self.vocabulary)
        rates = [rate for language in self.lines for rate in self._rates(model, form, language)]
        return dict(zip(self.names, rates, strict=True))

    def _rates(
        self, model: VaryForConditionalGeneration, form: LineFormat, language: str
    ) -> tuple[float, float]:
        """The error rates of the decoder and of the CTC branch."""
        if language not in self._batches:
            self._batches[language] = make_batches(
                [Line(image, text) for image, text in self.lines[language]],
                form,
                batch_pixels=8192,
                max_width=2048,
                rng=np.random.default_rng(0),
                name="validation",
            ).batches
        by_decoder = by_ctc = total = 0
        blank = form.pad_id
        device = next(model.parameters()).device
        for batch in self._batches[language]:
            batch = batch.to(device)
            features = model.get_image_features(batch.pixel_values, pixel_widths=batch.pixel_widths)
            spelled = model.ctc_logits(features).argmax(-1)
            frames = batch.pixel_widths // form.patch_size * form.ctc_frames
            truths = [labels[labels >= 0][:-1].tolist() for labels in batch.labels]
            read = _decode(model, batch, features, form)
            for row, (truth, found) in enumerate(zip(truths, read, strict=True)):
                path = torch.unique_consecutive(spelled[row, : int(frames[row])])
                by_ctc += self.distance(_text(path[path != blank].tolist()), _text(truth))
                by_decoder += self.distance(_text(found), _text(truth))
                total += len(truth)
        return by_decoder / max(1, total), by_ctc / max(1, total)


def _decode(
    model: VaryForConditionalGeneration, batch: LineBatch, features: VaryImageFeatures, form: LineFormat
) -> list[list[int]]:
    """Greedy ids of every row; prompts are padded on the left, as in reading."""
    prompts = [
        ids[: int((labels < 0).sum() - (mask == 0).sum())].tolist()
        for ids, labels, mask in zip(batch.input_ids, batch.labels, batch.attention_mask, strict=True)
    ]
    longest = max(map(len, prompts))
    ids = torch.tensor(
        [[form.pad_id] * (longest - len(p)) + p for p in prompts], device=batch.input_ids.device
    )
    new = model.generate(
        input_ids=ids,
        attention_mask=(ids != form.pad_id).long(),
        mm_encoder_outputs={"image": features},
        max_new_tokens=int(batch.target_lengths.max()) + 8,
        do_sample=False,
    )[:, longest:].tolist()
    return [row[: row.index(form.eos_id)] if form.eos_id in row else row for row in new]


def _text(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))
