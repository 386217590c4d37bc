"""A look at a model while it trains: its answers to samples that it does not learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from vary.errors import DataError
from vary.training.data.examples import IGNORED, Example, ExampleBuilder
from vary.training.data.sources import Mixture

__all__ = ["AnswerValidation"]

PREDICTIONS_FOLDER = "predictions"
BEYOND = 16
"""An answer may be so many tokens longer than the true one before it is cut off."""


class AnswerValidation:
    """Edits per character of the first answers to fixed samples, greedy, and how many are exact.

    The answers are written to `folder/predictions/step-N.jsonl`, one sample a line.

    Args:
        mixture: the samples; those that cannot be built are an error here.
        builder: as in training.
        folder: the run's.
        distance: edits between two texts.
        samples: how many to look at.

    Raises:
        DataError: for a sample that cannot be used.
    """

    names = ("cer", "exact")

    def __init__(
        self,
        mixture: Mixture,
        builder: ExampleBuilder,
        folder: Path,
        distance: Callable[[str, str], int],
        *,
        samples: int = 16,
    ) -> None:
        self.folder, self.distance = folder, distance
        self.tokenizer = builder.processor.tokenizer
        self.header = len(builder.header)
        self.stop_ids = builder.stop_ids
        places = mixture.places(0, min(samples, mixture.epoch_size))
        self.examples = []
        for place in places:
            name = mixture.name(place)
            try:
                self.examples.append(builder.build(mixture.sources[place[0]].load(place[1]), name))
            except DataError as error:
                raise DataError(f"{name}: cannot be used for validation, {error}") from error

    @torch.inference_mode()
    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """`cer`: edits per character of the true answers; `exact`: the share of answers without one."""
        edits = characters = exact = 0
        rows = []
        for example in self.examples:
            prompt, truth = _first_answer(example, self.stop_ids)
            answer, expected = self._text(self._answer(model, example, prompt, truth)), self._text(truth)
            distance = self.distance(answer, expected)
            edits, characters, exact = edits + distance, characters + len(expected), exact + (not distance)
            rows.append({"sample": example.name, "answer": answer, "expected": expected, "edits": distance})
        if not dist.is_available() or not dist.is_initialized() or dist.get_rank() == 0:
            self._write(rows, step)  # of several processes, which all have the same answers, one writes them
        return {"cer": edits / max(1, characters), "exact": exact / max(1, len(self.examples))}

    def _answer(self, model: Any, example: Example, prompt: Sequence[int], truth: Sequence[int]) -> list[int]:
        """The model's ids, without the end token."""
        device = next(model.parameters()).device
        ids = torch.tensor([list(prompt)], device=device)
        found = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=len(truth) + BEYOND,
            do_sample=False,
            **{name: value.to(device) for name, value in example.pixels.items()},
        )[0, len(prompt) :].tolist()
        end = next((place for place, token in enumerate(found) if token in self.stop_ids), len(found))
        return list(found[:end])

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids)[self.header :], skip_special_tokens=True)
        return text

    def _write(self, rows: Sequence[dict[str, Any]], step: int) -> None:
        folder = self.folder / PREDICTIONS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"step-{step:07d}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _first_answer(example: Example, stop_ids: frozenset[int]) -> tuple[list[int], list[int]]:
    """The prompt of the first round, and the answer without the token that ends it."""
    first = next(place for place, label in enumerate(example.labels) if label != IGNORED)
    last = first
    while last < len(example.labels) and example.labels[last] not in {IGNORED, *stop_ids}:
        last += 1
    return example.input_ids[:first], example.input_ids[first:last]
