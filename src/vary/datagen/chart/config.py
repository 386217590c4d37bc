"""The settings of the chart engine."""

from __future__ import annotations

from dataclasses import dataclass

from vary.datagen.chart.content import KINDS
from vary.datagen.corpus import LANGUAGES
from vary.errors import DataError, did_you_mean

__all__ = ["CONTENTS", "RENDERERS", "ChartConfig"]

RENDERERS = ("matplotlib", "echarts")
CONTENTS = ("random", "related", "both")
_SMALLEST, _LARGEST = 240, 4000


@dataclass(frozen=True, kw_only=True)
class ChartConfig:
    """What the chart engine draws.

    Attributes:
        seed, split: what the charts are drawn from, besides their number; splits differ at the same seed.
        languages: some of `en`, `zh`, equally often.
        content: `random` (stage 1: words and numbers that have nothing to do with each other), `related`
            (stage 2: from templates), or `both`, half and half.
        renderers: some of `matplotlib`, `echarts`, equally often.
        kinds: some of `content.KINDS`, equally often.
        corpus: text files whose words random content takes; without them the templates' words.
        licence: of the corpus.
        exclude_fonts: patterns of font families that are not used, besides those of evaluation pages.
        font_folders: folders to take fonts from instead of the system's.
        width, height: the least and the most px of a chart's sides; charts whose words collide get larger.
        clean_share: share of charts without degradation, 0 to 1.
        node_modules: folder of node packages with ECharts; default $VARY_NODE_MODULES, else ./node_modules.
    """

    seed: int = 0
    split: str = "train"
    languages: tuple[str, ...] = LANGUAGES
    content: str = "related"
    renderers: tuple[str, ...] = RENDERERS
    kinds: tuple[str, ...] = tuple(KINDS)
    corpus: tuple[str, ...] = ()
    licence: str = "see the corpus"
    exclude_fonts: tuple[str, ...] = ()
    font_folders: tuple[str, ...] | None = None
    width: tuple[int, int] = (480, 960)
    height: tuple[int, int] = (360, 680)
    clean_share: float = 0.5
    node_modules: str | None = None

    def __post_init__(self) -> None:
        _check_names("languages", self.languages, LANGUAGES)
        _check_names("renderers", self.renderers, RENDERERS)
        _check_names("kinds", self.kinds, tuple(KINDS))
        _check_names("content", (self.content,), CONTENTS)
        if not 0 <= self.clean_share <= 1:
            raise DataError(f"clean_share={self.clean_share}: expected a number from 0 to 1")
        for name, (least, most) in (("width", self.width), ("height", self.height)):
            if not _SMALLEST <= least <= most <= _LARGEST:
                raise DataError(
                    f"{name}={least, most}: expected the least and the most px, {_SMALLEST} to {_LARGEST}"
                )


def _check_names(field: str, found: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in known]
    if unknown or not found:
        what = f"{field} {unknown[0]!r} is not known" if unknown else f"no {field}"
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise DataError(f"{what}: expected some of {', '.join(known)}{hint}")
