"""ShareGPT and Alpaca files as samples: conversations without an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vary.datagen.readers.base import ReaderConfig, RecordReader
from vary.datagen.readers.conversations import dialogue_of
from vary.datagen.readers.problems import Problem, kind_of, of_object, text_problems
from vary.datagen.sample import Draw, Sample
from vary.datagen.scripts import language_of

__all__ = ["AlpacaReader", "DialogueConfig", "SharegptReader", "alpaca_problems", "sharegpt_problems"]


@dataclass(frozen=True, kw_only=True)
class DialogueConfig(ReaderConfig):
    """What is read of a file of text-only conversations, a JSON array or JSON lines; nothing is drawn.

    Attributes:
        languages: of `en`, `zh`, `mixed` and `other`, what to keep; None keeps all.  By script, so `en` is
            everything in Latin letters.
        max_characters: longer conversations are left out and counted; None keeps all.
    """

    languages: tuple[str, ...] | None = None
    max_characters: int | None = None


@dataclass(frozen=True, slots=True)
class _Dialogue:
    rounds: tuple[tuple[str, str], ...]
    system: str | None
    mended: tuple[str, ...]


class _DialogueReader(RecordReader[DialogueConfig]):
    """Index in, one conversation out."""

    def _dialogue(self, index: int) -> _Dialogue:
        raise NotImplementedError

    def draw(self, index: int) -> Draw:
        """The conversation of record `index`, from 0.  Raises `RecordFault` for a broken one."""
        talk = self._dialogue(index)
        counts = Counter(f"left out: {mended}" for mended in talk.mended)
        text = "\n".join(part for turn in talk.rounds for part in turn)
        language = language_of(text)
        if self.config.languages is not None and language not in self.config.languages:
            return Draw((), counts, Counter({f"language {language}": 1}))
        if self.config.max_characters is not None and len(text) > self.config.max_characters:
            return Draw((), counts, Counter({"more than max_characters": 1}))
        (prompt, answer), *later = talk.rounds
        sample = Sample(
            image=None,
            task="chat",
            prompt=prompt,
            answer=answer,
            source=self.source_of(index),
            licence=self.config.licence,
            language=language,
            later=tuple(later),
            system=talk.system,
        )
        return Draw((sample,), counts)


class SharegptReader(_DialogueReader):
    """ShareGPT: `conversations` of `from` and `value`, or `messages` of `role` and `content`."""

    name = "sharegpt"

    def _dialogue(self, index: int) -> _Dialogue:
        talk, problems, mended = dialogue_of(self.records.read(index))
        if talk is None:
            raise self.records.fault(index, problems[0].path, problems[0].reason)
        return _Dialogue(talk.rounds, talk.system, tuple(mended))


class AlpacaReader(_DialogueReader):
    """Alpaca: `instruction`, an `input` that may be empty, `output`."""

    name = "alpaca"

    def _dialogue(self, index: int) -> _Dialogue:
        record = self._sound(index, alpaca_problems)
        given = record.get("input") or ""
        prompt = record["instruction"] + (f"\n\n{given}" if given.strip() else "")
        return _Dialogue(((prompt, record["output"]),), None, ())


def sharegpt_problems(record: Any) -> Iterator[Problem]:
    """Everything that is wrong with a ShareGPT record and cannot be mended."""
    yield from dialogue_of(record)[1]


@of_object
def alpaca_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with an Alpaca record."""
    yield from text_problems(record, "instruction", "output")
    given = record.get("input")
    if given is not None and not isinstance(given, str):
        yield Problem("$.input", f"expected a text or nothing, found {kind_of(given)}")
