"""A look at a line model while it trains: lines in fonts and from texts that it never sees in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vary.datagen.fonts import FontCatalogue, find_fonts
from vary.datagen.lines.engine import LineEngine, LineEngineConfig
from vary.errors import DataError
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures
from vary.training.data import LineBatch, LineFormat, make_batches

__all__ = ["VALIDATION_FAMILIES", "LineValidation", "validation_lines"]

VALIDATION_FAMILIES = ("Caladea", "Carlito", "Clear Sans*", "LXGW WenKai*", "PT Serif*", "Vollkorn")
"""Left out of training, whatever else is installed; patterns of family names."""

Lines = list[tuple[NDArray[np.uint8], str]]


def validation_lines(paint: LineEngineConfig, count: int = 128) -> Lines:
    """Lines of full length in the validation families, from `paint`'s corpus (a held-out one, please)."""
    config = replace(paint, exclude_fonts=(), split="validation", seed=0)
    wanted = find_fonts(exclude=VALIDATION_FAMILIES, folders=config.font_folders)
    everything = find_fonts(folders=config.font_folders)
    families = set(everything.families) - set(wanted.families)
    faces = tuple(face for face in everything.faces if face.family in families)
    if not faces:
        raise DataError(
            f"none of the validation families is installed ({', '.join(VALIDATION_FAMILIES)}); install one "
            "(vary/datagen/font_packages.txt), or train without validation"
        )
    engine = LineEngine(config, fonts=FontCatalogue(faces))
    lines: Lines = []
    page = 0
    while len(lines) < count:
        found = [(line.image, line.text) for line in engine.page(page)]
        lines += found[: -(-count // 16)]
        page += 1
    return lines[:count]


class LineValidation:
    """Character error rates of the decoder (greedy) and of the CTC branch on a fixed set of lines."""

    def __init__(self, lines: Lines, form: LineFormat, distance: Callable[[str, str], int]) -> None:
        self.form, self.distance = form, distance
        self.batches, _ = make_batches(
            lines, form, batch_pixels=8192, max_width=2048, rng=np.random.default_rng(0), name="validation"
        )

    @torch.inference_mode()
    def __call__(self, model: VaryForConditionalGeneration) -> dict[str, float]:
        """`cer_decoder` and `cer_ctc`: edits per character."""
        edits = {"cer_decoder": 0, "cer_ctc": 0}
        total = 0
        blank = self.form.pad_id
        device = next(model.parameters()).device
        for batch in self.batches:
            batch = batch.to(device)
            features = model.get_image_features(batch.pixel_values, pixel_widths=batch.pixel_widths)
            spelled = model.ctc_logits(features).argmax(-1)
            frames = batch.pixel_widths // self.form.patch_size * self.form.ctc_frames
            truths = [labels[labels >= 0][:-1].tolist() for labels in batch.labels]
            for row, (truth, read) in enumerate(
                zip(truths, self._decode(model, batch, features), strict=True)
            ):
                path = torch.unique_consecutive(spelled[row, : int(frames[row])])
                edits["cer_ctc"] += self.distance(self._text(path[path != blank].tolist()), self._text(truth))
                edits["cer_decoder"] += self.distance(self._text(read), self._text(truth))
                total += len(truth)
        return {name: count / max(1, total) for name, count in edits.items()}

    def _decode(
        self, model: VaryForConditionalGeneration, batch: LineBatch, features: VaryImageFeatures
    ) -> list[list[int]]:
        """Greedy ids of every row; prompts are padded on the left, as in reading."""
        prompts = [
            ids[: int((labels < 0).sum() - (mask == 0).sum())].tolist()
            for ids, labels, mask in zip(batch.input_ids, batch.labels, batch.attention_mask, strict=True)
        ]
        longest = max(map(len, prompts))
        ids = torch.tensor(
            [[self.form.pad_id] * (longest - len(p)) + p for p in prompts], device=batch.input_ids.device
        )
        new = model.generate(
            input_ids=ids,
            attention_mask=(ids != self.form.pad_id).long(),
            mm_encoder_outputs={"image": features},
            max_new_tokens=int(batch.target_lengths.max()) + 8,
            do_sample=False,
        )[:, longest:].tolist()
        return [row[: row.index(self.form.eos_id)] if self.form.eos_id in row else row for row in new]

    def _text(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))
