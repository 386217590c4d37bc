"""What a line model's confidence is fitted on: lines with known text, as the model reads them.

The lines are painted from held-out text in the validation families, cut as the reader cuts them, about half
of them degraded: as `vary.training.line_validation` does, in pages of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from vary.datagen.lines.engine import LineEngine, LineEngineConfig, LineSample
from vary.engine.lines import LineReading, read_lines
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.line_validation import validation_engine

__all__ = ["JudgedLine", "read_judged_lines"]

LINES_OF_A_PAGE = 16
"""Lines of a page are alike: no more of them count, so that there are many pages."""
PIXELS_PER_TOKEN, SPARE_TOKENS = 2, 8
"""No character is narrower; a reading that goes on longer did not end by itself."""
MAX_WIDTH, MAX_CHARS, COLUMNS = 2048, 200, (6, 160)
"""Lines as long as they occur on pages, and longer than those that a model learns from."""

Same = Callable[[str, str, str], bool]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class JudgedLine:
    """A reading, whether it is exactly what stands there, and the number of its page."""

    reading: LineReading
    exact: bool
    page: int


def read_judged_lines(
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    paint: LineEngineConfig,
    count: int,
    same: Same,
    *,
    progress: Progress | None = None,
) -> list[JudgedLine]:
    """Reads `count` painted lines with a model that reads lines.

    Args:
        model, processor: the checkpoint; the model in evaluation mode.
        paint: whose corpus, of one language, is painted; a held-out one.
        same: whether a reading and the truth are the same text, in a language.
        progress: is called with the lines done and all.

    Raises:
        TrainingError: for a model that reads whole pages.
        DataError: where no validation family is installed, or the corpus is no corpus.
    """
    if model.config.window != "lines":
        raise TrainingError(
            "the confidence of lines is fitted for checkpoints that read lines; this one reads whole pages"
        )
    config = replace(
        paint,
        split="confidence",
        seed=0,
        max_width_px=MAX_WIDTH,
        max_chars=MAX_CHARS,
        columns=COLUMNS,
        jitter=0.0,
    )
    judged: list[JudgedLine] = []
    for page, lines in _pages(validation_engine(config), count):
        for line, reading in zip(lines, _read(model, processor, lines), strict=True):
            text = processor.tokenizer.decode(
                reading.generation.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            judged.append(JudgedLine(reading, same(text, line.text, line.language), page))
        if progress is not None:
            progress(len(judged), count)
    return judged


def _pages(engine: LineEngine, count: int) -> Iterator[tuple[int, list[LineSample]]]:
    """Pages of at most so many lines, until there are `count` lines."""
    left, page = count, 0
    while left > 0:
        lines = engine.page(page)[: min(left, LINES_OF_A_PAGE)]
        if lines:
            yield page, lines
        left -= len(lines)
        page += 1


def _read(
    model: VaryForConditionalGeneration, processor: VaryProcessor, lines: Sequence[LineSample]
) -> list[LineReading]:
    """What the model reads on the lines of a page, in their order."""
    images = [line.image for line in lines]
    inputs = processor.build_inputs(images, "", layout=processor.check_layout(None)).to(model.device)
    limits = [image.shape[1] // PIXELS_PER_TOKEN + SPARE_TOKENS for image in images]
    return read_lines(model, inputs, limits)
