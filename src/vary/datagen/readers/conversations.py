"""Conversations as LLaVA and ShareGPT store them: what is wrong with a record, and its rounds.

A record is `{"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\\n..."}, {"from": "gpt",
"value": "..."}]}`; `llava.schema.json` beside this file says the same as JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vary.datagen.readers.problems import Problem, kind_of, of_object

__all__ = [
    "IMAGE_MARK",
    "MOST_TURNS",
    "Conversation",
    "conversation_of",
    "conversation_problems",
    "dialogue_of",
]

IMAGE_MARK = "<image>"
"""Where the image stands in a question."""
MOST_TURNS = 2000

_QUESTION, _ANSWER, _SYSTEM = "human", "gpt", "system"
_LLAVA_SPEAKERS = (_QUESTION, _ANSWER, _SYSTEM)
_OTHER_NAMES = {
    **dict.fromkeys(("human", "user", "prompter"), _QUESTION),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard"), _ANSWER),
    "system": _SYSTEM,
}
"""Who speaks, in the files that call themselves ShareGPT."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The rounds (question, answer) of a record, its system message, its image's name, and where the image
    stood in the first question: `before`, `after`, `within` or, where it was not said, empty."""

    rounds: tuple[tuple[str, str], ...]
    system: str | None = None
    image: str | None = None
    image_place: str = ""


@of_object
def conversation_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a LLaVA record; nothing for a good one."""
    image = record.get("image")
    if isinstance(image, list):
        yield Problem("$.image", f"{len(image)} images; a record has one image, or none")
    elif "image" in record and (not isinstance(image, str) or not image.strip()):
        found = "an empty name" if isinstance(image, str) else kind_of(image)
        yield Problem(
            "$.image", f"expected a file name, found {found}; leave the key out where there is none"
        )
    turns = record.get("conversations")
    if not isinstance(turns, list) or not turns:
        found = "nothing" if "conversations" not in record else "none" if turns == [] else kind_of(turns)
        yield Problem("$.conversations", f"expected an array of turns, found {found}")
        return
    if len(turns) > MOST_TURNS:
        yield Problem("$.conversations", f"{len(turns):,} turns are too many, the limit is {MOST_TURNS:,}")
        return
    yield from _turn_problems(turns, has_image="image" in record)


def _turn_problems(turns: list[Any], *, has_image: bool) -> Iterator[Problem]:
    begin = 0
    if isinstance(turns[0], dict) and turns[0].get("from") == _SYSTEM:
        begin = 1
    speakers_known = True
    for number, turn in enumerate(turns):
        path = f"$.conversations[{number}]"
        if not isinstance(turn, dict):
            yield Problem(path, f"expected an object with from and value, found {kind_of(turn)}")
            speakers_known = False
            continue
        speaker, value = turn.get("from"), turn.get("value")
        if speaker not in _LLAVA_SPEAKERS:
            found = repr(speaker) if isinstance(speaker, str) else kind_of(speaker)
            found = "nothing" if "from" not in turn else found
            yield Problem(f"{path}.from", f"expected human, gpt or (first of all) system, found {found}")
            speakers_known = False
        elif number >= begin and speakers_known:
            expected = (_QUESTION, _ANSWER)[(number - begin) % 2]
            if speaker != expected:
                yield Problem(f"{path}.from", f"expected {expected}, whose turn it is, found {speaker}")
                speakers_known = False  # the turns behind it would all be out of step
        if not isinstance(value, str):
            found = "nothing" if "value" not in turn else kind_of(value)
            yield Problem(f"{path}.value", f"expected a text, found {found}")
            continue
        yield from _value_problems(path, value, speaker, first=number == begin, has_image=has_image)
    if speakers_known and (len(turns) - begin) % 2:
        yield Problem(f"$.conversations[{len(turns) - 1}]", "the last question has no answer")
    elif speakers_known and len(turns) == begin:
        yield Problem("$.conversations", "a system message without a conversation")


def _value_problems(
    path: str, value: str, speaker: object, *, first: bool, has_image: bool
) -> Iterator[Problem]:
    marks = value.count(IMAGE_MARK)
    alone = not value.replace(IMAGE_MARK, "").strip()
    if speaker == _ANSWER and not value.strip():
        yield Problem(f"{path}.value", "an empty answer: there is nothing to learn from it")
    elif alone and not (first and has_image):
        yield Problem(f"{path}.value", "an empty text")
    if marks and not has_image:
        yield Problem(f"{path}.value", f"{IMAGE_MARK} stands in a record without an image")
    elif marks and not (first and speaker == _QUESTION):
        yield Problem(f"{path}.value", f"{IMAGE_MARK} belongs into the first question alone")
    elif marks > 1:
        yield Problem(f"{path}.value", f"{IMAGE_MARK} stands {marks} times; a record has one image")


def conversation_of(record: dict[str, Any]) -> Conversation:
    """The conversation of a LLaVA record that has no problem."""
    turns = record["conversations"]
    system = turns[0]["value"].strip() if turns[0]["from"] == _SYSTEM else None
    values = [turn["value"] for turn in turns if turn["from"] != _SYSTEM]
    question, place = _without_mark(values[0])
    rounds = list(zip(values[::2], values[1::2], strict=True))
    rounds[0] = (question, rounds[0][1])
    return Conversation(tuple(rounds), system, record.get("image"), place)


def _without_mark(question: str) -> tuple[str, str]:
    """A question without its image mark and the blanks that parted it, and where the mark stood."""
    before, mark, after = question.partition(IMAGE_MARK)
    if not mark:
        return question, ""
    before, after = before.rstrip(), after.lstrip()
    if before and after:
        return f"{before} {after}", "within"
    return (after, "before") if not before else (before, "after")


def dialogue_of(record: Any) -> tuple[Conversation | None, list[Problem], list[str]]:
    """The conversation of a ShareGPT record, what is wrong with it, and what was left out to mend it.

    Takes `conversations` of `from` and `value`, and `messages` of `role` and `content`.  An answer before the
    first question and a question behind the last answer are left out, as everybody does with these files.
    """
    if not isinstance(record, dict):
        return None, [Problem("$", f"expected an object, found {kind_of(record)}")], []
    key = "messages" if "conversations" not in record and "messages" in record else "conversations"
    who, what = ("role", "content") if key == "messages" else ("from", "value")
    turns = record.get(key)
    if not isinstance(turns, list) or not 0 < len(turns) <= MOST_TURNS:
        found = f"{len(turns):,}" if isinstance(turns, list) else kind_of(turns)
        return None, [Problem(f"$.{key}", f"expected 1 to {MOST_TURNS:,} turns, found {found}")], []
    problems: list[Problem] = []
    spoken: list[tuple[str, str]] = []
    for number, turn in enumerate(turns):
        fields = turn if isinstance(turn, dict) else {}
        speaker, value = _OTHER_NAMES.get(str(fields.get(who))), fields.get(what)
        if speaker is None or not isinstance(value, str):
            problems.append(
                Problem(f"$.{key}[{number}]", f"expected a known speaker as {who} and a text as {what}")
            )
        elif speaker == _SYSTEM and number:
            problems.append(Problem(f"$.{key}[{number}]", "a system message behind the first turn"))
        elif not value.strip() and speaker != _SYSTEM:
            problems.append(Problem(f"$.{key}[{number}].{what}", "an empty text"))
        else:
            spoken.append((speaker, value))
    if problems:
        return None, problems, []
    return _dialogue(spoken, key)


def _dialogue(
    spoken: list[tuple[str, str]], key: str
) -> tuple[Conversation | None, list[Problem], list[str]]:
    mended: list[str] = []
    system = spoken.pop(0)[1].strip() or None if spoken[0][0] == _SYSTEM else None
    if spoken and spoken[0][0] == _ANSWER:
        mended.append("an answer before the first question")
        del spoken[0]
    if spoken and spoken[-1][0] == _QUESTION:
        mended.append("a question without an answer at the end")
        del spoken[-1]
    if not spoken:
        return None, [Problem(f"$.{key}", "no question that is answered")], []
    for place, (speaker, _) in enumerate(spoken):
        if speaker != (_QUESTION, _ANSWER)[place % 2]:
            return None, [Problem(f"$.{key}", "question and answer do not take turns")], []
    texts = [text for _, text in spoken]
    return Conversation(tuple(zip(texts[::2], texts[1::2], strict=True)), system), [], mended
