"""Samples as token ids and labels, built as the reader builds its prompts, so that both are the same bytes.

What is learned is what the model itself writes: an answer, and the token that ends it.  Where an answer
stands follows from the lists of ids that it is put together from; no text is parsed again to find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from vary.datagen.sample import Sample
from vary.errors import DataError, InputError, TaskError
from vary.inputs.tasks import FREE_PROMPT, LANGUAGES, TASKS, task_of_prompt
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text

__all__ = ["IGNORED", "Example", "ExampleBuilder"]

IGNORED = -100
"""The label of a position on which nothing is learned."""


@dataclass(slots=True)
class Example:
    """A sample for the model.

    Attributes:
        input_ids: the whole conversation.
        labels: the same, `IGNORED` where nothing is learned.
        pixels: the processor's pixel tensors of its image, (1, ...); empty for text alone.
        name: what messages call it.
        cut: whether its end was cut off to fit the model.
        task: what it teaches, a name of `vary.inputs.tasks.TASKS`.
        languages: those it is in.
    """

    input_ids: list[int]
    labels: list[int]
    pixels: dict[str, Tensor]
    name: str
    cut: bool = False
    task: str = "ask"
    languages: tuple[str, ...] = ()

    @property
    def learned(self) -> int:
        """How many tokens are learned; the first position of a sequence is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])


class ExampleBuilder:
    """Builds examples for one model.

    Args:
        processor: the checkpoint's.
        stop_ids: the tokens that end an answer, as the model's generation configuration has them.
        max_length: the longest example in tokens; the end of longer ones is cut off, or they are refused.
        cut: whether to cut; what is left of an answer is learned without an end.
        layout: the prompt layout; None for the checkpoint's own.

    Raises:
        DataError: if nothing could end an answer.
    """

    def __init__(
        self,
        processor: VaryProcessor,
        stop_ids: Sequence[int],
        *,
        max_length: int,
        cut: bool = True,
        layout: str | None = None,
    ) -> None:
        if not stop_ids:
            raise DataError("the model has no end token, so an answer would have no end; set eos_token_id")
        self.processor, self.stop_ids = processor, frozenset(stop_ids)
        self.max_length, self.cut, self.layout = max_length, cut, layout
        self.header = processor.answer_header(layout)
        self.takes_prompt = _takes_prompt(processor, layout)

    def build(self, sample: Sample, name: str) -> Example:
        """The example of a sample; a model that takes no prompt is shown none.

        Raises:
            DataError: for a sample that cannot be learned: without an answer, with the end token's text in
                it, too long, or with an image that cannot be used.
        """
        pixels: dict[str, Tensor] = {}
        counts: list[int] = []
        if sample.image is not None:
            try:
                found: Any = self.processor.image_inputs([Image.fromarray(sample.image)], layout=self.layout)
            except InputError as error:
                raise DataError(str(error)) from error
            pixels = dict(found)
            counts = self.processor.image_token_counts(found)
        ids, labels = self.conversation(sample, counts)
        cut = len(ids) > self.max_length
        if cut and not self.cut:
            raise DataError(f"{len(ids)} tokens, more than the {self.max_length} that fit")
        ids, labels = ids[: self.max_length], labels[: self.max_length]
        languages = LANGUAGES if sample.language == "mixed" else (sample.language,)  # `other`: none of ours
        task = _task(sample)
        example = Example(ids, labels, pixels, name, cut, task, languages)
        if not example.learned:
            raise DataError(f"nothing to learn: no token of an answer is among the first {self.max_length}")
        return example

    def conversation(self, sample: Sample, image_tokens: Sequence[int]) -> tuple[list[int], list[int]]:
        """The ids and labels of a sample whose images have so many tokens."""
        if not self.takes_prompt and (sample.later or sample.image is None):
            raise DataError("a conversation, or no image; this model reads an image and is asked nothing")
        messages: list[dict[str, Any]] = []
        if sample.system is not None:
            messages.append({"role": "system", "content": sample.system})
        ids: list[int] = []
        labels: list[int] = []
        rounds = [(sample.prompt, sample.answer), *sample.later]
        for number, (question, answer) in enumerate(rounds):
            shown = [{"type": "image"}] if number == 0 and sample.image is not None else []
            text = [{"type": "text", "text": question}] if question and self.takes_prompt else []
            messages.append({"role": "user", "content": [*shown, *text]})
            prompt = self._chat_ids(messages, image_tokens)
            written = [*self.header, *self._answer_ids(answer)]
            messages.append({"role": "assistant", "content": answer, "ids": written[len(self.header) :]})
            whole = self._chat_ids(messages, image_tokens)
            end = len(prompt) + len(written)
            if whole[: len(ids)] != ids or whole[:end] != [*prompt, *written]:
                raise DataError("the chat template changes what stood before an answer; give it another one")
            if end >= len(whole) or whole[end] not in self.stop_ids:
                raise DataError(
                    f"the chat template ends an answer with {whole[end : end + 1]}, but the model stops "
                    f"at {sorted(self.stop_ids)}; make them the same"
                )
            labels += [IGNORED] * (len(prompt) - len(ids)) + whole[len(prompt) : end + 1]
            ids = whole[: end + 1]
        return ids, labels

    def _chat_ids(self, messages: Sequence[dict[str, Any]], image_tokens: Sequence[int]) -> list[int]:
        try:
            return self.processor.chat_ids(messages, image_tokens, layout=self.layout)
        except (TaskError, InputError) as error:
            raise DataError(str(error)) from error

    def _answer_ids(self, answer: str) -> list[int]:
        if not answer.strip():
            raise DataError("an answer is empty")
        ids = encode_text(self.processor.tokenizer, answer)
        if found := self.stop_ids.intersection(ids):
            raise DataError(f"an answer holds token {min(found)}, at which the model stops")
        return ids


def _task(sample: Sample) -> str:
    """What a sample teaches; conversations whose prompt is a task's own teach that, others free questions."""
    if sample.task in TASKS and sample.task != FREE_PROMPT:
        return sample.task
    return task_of_prompt(sample.prompt) or FREE_PROMPT


def _takes_prompt(processor: VaryProcessor, layout: str | None) -> bool:
    """Whether a layout has a place for a question."""
    try:
        processor.chat_ids([{"role": "user", "content": "?"}], (), layout=layout)
    except TaskError:
        return False
    return True
