"""The stages of the papers as descriptions to plan with: what is trained, on how much, how often.

Sizes of the data are the papers' (arXiv 2312.06109 and 2401.12503); how long texts are they do not say, so
lengths in tokens are assumptions, each of which can be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vary.errors import TrainingError, did_you_mean
from vary.training.cost.shapes import check_parts

__all__ = ["STAGES", "DataShare", "Stage", "find_stage"]

PAGE_EN = 900
"""Tokens of an English page: about 3,600 characters, 4 of them a token."""
PAGE_ZH_QWEN, PAGE_ZH_OPT = 700, 2000
"""Of a Chinese page, 1,000 characters: Qwen's vocabulary has Chinese words, OPT's spells out bytes."""
CHART, MARKDOWN, CAPTION, BOXES = 200, 1000, 30, 150


@dataclass(frozen=True, slots=True)
class DataShare:
    """A part of a stage's data.

    Attributes:
        name: of the part.
        samples: in one epoch.
        tokens: of a sample's questions and answers on average, without image and layout.
        image: whether a sample has an image.
    """

    name: str
    samples: int
    tokens: int
    image: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of training, as far as its cost goes.

    Attributes:
        name: as a command line has it.
        title: what it is, with its source.
        model: the preset that is trained.
        trained: the parts that are; the others are frozen.
        data: the parts of its data.
        epochs: how often the data is shown.
        batch: samples a step, over all GPUs.
        layout_tokens: of the prompt layout around a sample (system message, roles, marks of the image).
        longest: the longest sample in tokens, to which memory is planned.
    """

    name: str
    title: str
    model: str
    trained: tuple[str, ...]
    data: tuple[DataShare, ...]
    epochs: float
    batch: int = 512
    layout_tokens: int = 32
    longest: int = 4096

    def __post_init__(self) -> None:
        check_parts(self.trained)
        if not self.trained:
            raise TrainingError("a stage trains at least one part")
        if not self.data or any(share.samples < 1 or share.tokens < 0 for share in self.data):
            raise TrainingError("a stage needs data: at least one part, of 1 sample and 0 tokens at least")
        if self.batch < 1 or self.longest < 1 or not self.epochs > 0:
            raise TrainingError(
                f"batch {self.batch}, longest {self.longest}, epochs {self.epochs}: expected above 0"
            )

    @property
    def epoch_samples(self) -> int:
        return sum(share.samples for share in self.data)

    @property
    def samples(self) -> int:
        """Of the whole stage, with repetitions."""
        return max(1, round(self.epochs * self.epoch_samples))

    @property
    def steps(self) -> int:
        """Of the optimizer; the last may have fewer samples."""
        return -(-self.samples // self.batch)

    def length(self, share: DataShare, image_tokens: int) -> int:
        """Tokens of an average sample of a part, at most `longest`."""
        return min(self.longest, self.layout_tokens + share.tokens + (image_tokens if share.image else 0))

    def with_tokens(self, tokens: Mapping[str, int]) -> Stage:
        """The stage with other lengths of some parts' texts.

        Raises:
            TrainingError: for a part that it does not have.
        """
        names = [share.name for share in self.data]
        if unknown := [name for name in tokens if name not in names]:
            raise TrainingError(
                f"{self.name} has no data {unknown[0]!r}{did_you_mean(unknown[0], names)}; there are "
                f"{', '.join(names)}"
            )
        data = tuple(replace(share, tokens=tokens.get(share.name, share.tokens)) for share in self.data)
        return replace(self, data=data)


EVERYTHING = ("vision_vocabulary", "projector", "decoder")
DECODER = ("projector", "decoder")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="vary-tiny",
            title="stage 1 of Vary: the vocabulary is written with OPT-125M (arXiv 2312.06109, 3.2)",
            model="vary-tiny",
            trained=EVERYTHING,
            data=(
                DataShare("pages-en", 1_000_000, PAGE_EN),
                DataShare("pages-zh", 1_000_000, PAGE_ZH_OPT),
                DataShare("charts", 1_500_000, CHART),
                DataShare("negatives", 120_000, 10),
            ),
            epochs=3,
            layout_tokens=3,
        ),
        Stage(
            name="vary-tiny-plus",
            title="stage 1 of Vary-toy: the vocabulary goes on with detection (arXiv 2401.12503, 3.2)",
            model="vary-tiny",
            trained=EVERYTHING,
            data=(
                DataShare("pages-en", 2_000_000, PAGE_EN),
                DataShare("pages-zh", 2_000_000, PAGE_ZH_OPT),
                DataShare("detection", 3_000_000, BOXES),
            ),
            epochs=2,
        ),
        Stage(
            name="vary-toy-multitask",
            title="stage 2 of Vary-toy: projectors and decoder learn all tasks (arXiv 2401.12503, 3.3)",
            model="vary-toy",
            trained=DECODER,
            data=(
                DataShare("captions", 4_000_000, CAPTION),
                DataShare("blip-captions", 558_000, CAPTION),
                DataShare("pages", 1_000_000, (PAGE_EN + PAGE_ZH_QWEN) // 2),
                DataShare("markdown", 500_000, MARKDOWN),
                DataShare("detection", 50_000, BOXES),
                DataShare("refcoco", 120_624, 40),
                DataShare("sharegpt", 125_000, 1500, image=False),
                DataShare("baize", 112_000, 500, image=False),
                DataShare("alpaca", 52_000, 120, image=False),
                DataShare("docvqa", 39_463, 30),
                DataShare("chartqa", 28_299, 30),
            ),
            epochs=1,
        ),
        Stage(
            name="vary-toy-sft",
            title="tuning of Vary-toy on LLaVA-80K (arXiv 2401.12503, 3.3)",
            model="vary-toy",
            trained=DECODER,
            data=(DataShare("llava", 80_000, 300),),
            epochs=1,
        ),
    )
}


def find_stage(name: str) -> Stage:
    """A stage by name.

    Raises:
        TrainingError: if there is none; the message lists all.
    """
    if name not in STAGES:
        raise TrainingError(f"no stage {name!r}{did_you_mean(name, STAGES)}; there are {', '.join(STAGES)}")
    return STAGES[name]
