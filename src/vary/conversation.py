"""A conversation about one page: the image is encoded once, the history is kept outside the model.

>>> from vary import Conversation, Reader
>>> chat = Conversation(Reader.load("vary-toy"), "page.png")
>>> chat.ask("What is the title?").text
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vary import __version__
from vary.engine.decoders.interface import Decoder
from vary.engine.generation import FinishReason, Generation, Sampling, context_length, generate
from vary.engine.prompt_cache import PromptCache
from vary.engine.streaming import TextPieces, text_guard
from vary.errors import ContextError, InputError, TaskError
from vary.inputs.page_image import PageImage
from vary.inputs.pages import DEFAULT_DPI, Source, open_page
from vary.inputs.tasks import FREE_PROMPT, check_prompt
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures
from vary.model.processing import VaryProcessor
from vary.outputs.files import write_new_file
from vary.outputs.transcript import render_transcript

__all__ = ["Conversation", "Turn"]

ANSWER_TOKENS = 4096
"""The longest answer where the language model does not say how far its positions reach."""
OnText = Callable[[str], None]


class ChatReader(Protocol):
    """What a conversation needs of a `Reader`."""

    name: str

    @property
    def processor(self) -> VaryProcessor: ...

    @property
    def device(self) -> torch.device: ...

    def computing(self, sampling: Sampling) -> tuple[VaryForConditionalGeneration, Decoder | None]: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer.

    Attributes:
        question, text: as asked, and as answered.
        tokens: of the answer.
        seconds: that it took, on the first question with the image.
        finish_reason: `stop`, `length` (at the limit of tokens) or `loop` (a repetition, which was cut off).
        message: what there is to know about an answer that did not end by itself.
        prompt_tokens, cached_tokens: of the whole prompt, and how many of them had been read before.
        ids: the answer's tokens.
    """

    question: str
    text: str
    tokens: int
    seconds: float
    finish_reason: FinishReason
    message: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    ids: tuple[int, ...] = field(default=(), repr=False)


class Conversation:
    """Questions and answers about one image.

    Args:
        reader: a `Reader` whose checkpoint answers questions.
        image: a path, the bytes of a file, a PIL image, an array, or a `PageImage`.
        page: which page of a file of several, counted from 1.
        dpi, password: of a PDF.
        layout: one of the processor's prompt layouts; None for the checkpoint's own.
        sampling: how tokens are chosen; greedy by default.
        max_new_tokens: the longest answer; None for as much as the model's positions leave.
        system: a system message instead of the layout's own.

    Raises:
        TaskError: for a checkpoint that cannot chat, or an unknown layout.
        InputError: for an image that cannot be read.
    """

    def __init__(
        self,
        reader: ChatReader,
        image: Source | PageImage,
        *,
        page: int = 1,
        dpi: float = DEFAULT_DPI,
        password: str | None = None,
        layout: str | None = None,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        system: str | None = None,
    ) -> None:
        check_chat(reader)
        check_prompt(system or "")
        if max_new_tokens is not None and max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}, expected at least 1")
        self.layout = reader.processor.check_layout(layout)
        self.sampling = sampling or Sampling()
        self.max_new_tokens = max_new_tokens
        self.system = system
        self._reader = reader
        self._dpi, self._password = dpi, password
        self._header = reader.processor.answer_header(layout)
        self._model, self._decoder = reader.computing(self.sampling)
        self._cache = PromptCache(self._model, self._decoder)
        self.show(image, page=page)

    def __repr__(self) -> str:
        page = f"{self.page.source}, page {self.page.index + 1}"
        return f"<Conversation with {self._reader.name} about {page}: {len(self._turns)} turns>"

    def show(self, image: Source | PageImage, *, page: int = 1) -> None:
        """Turns to another image; the history is about the old one, and goes.

        Raises `InputError`, and leaves everything as it was, where the image cannot be read.
        """
        if not isinstance(image, PageImage):
            image = open_page(image, page, dpi=self._dpi, password=self._password)
        self.page: PageImage = image
        self._features: VaryImageFeatures | None = None
        self._cache.clear()
        self.reset()

    def reset(self) -> None:
        """Forgets questions and answers, and keeps the image as it was encoded."""
        self._turns: list[Turn] = []

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The questions and answers so far."""
        return tuple(self._turns)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history in the form of chat templates; the image stands in the first question."""
        return self._messages(self._turns)

    @property
    def context_length(self) -> int | None:
        """How many tokens a conversation may have with this model, image, questions and answers together."""
        return context_length(self._model)

    @property
    def tokens(self) -> int:
        """How many tokens the conversation has before the words of the next question."""
        return len(self._prompt(""))

    @property
    def tokens_left(self) -> int | None:
        """How many are left for the next question and its answer; None where the model knows no limit."""
        limit = self.context_length
        return None if limit is None else max(0, limit - self.tokens)

    def ask(self, question: str, on_text: OnText | None = None) -> Turn:
        """Asks the model and waits for its answer.

        Args:
            question: the text; special tokens spelled out in it stay text.
            on_text: hears the answer in pieces of whole characters while it is written; together they are
                the turn's text.  Only where a loop is cut off the text is shorter: the beginning of them.

        Raises:
            TaskError: for a question that is empty or no text.
            VaryError: for a sampling that the reader's weights cannot follow, such as several beams where the
                language model is quantized.
            ContextError: for a question that leaves no room for an answer.  The history stays as it is, as it
                does when an answer is interrupted: then it is as if the question had not been asked.
        """
        if not question.strip():
            raise TaskError("the question is empty; ask something about the image")
        check_prompt(question)
        started = time.monotonic()
        prompt = self._prompt(question)
        limit = self._limit(len(prompt))
        pieces, shown = TextPieces(self._decode), []

        def show(piece: str) -> None:
            if piece:
                shown.append(piece)
                if on_text is not None:
                    on_text(piece)

        ids = torch.tensor([prompt], device=self._reader.device)
        self._follow_sampling()
        features = self._image_features()
        cached = self._cache.shared(prompt, features)
        [answer] = generate(
            self._model,
            {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "mm_encoder_outputs": {"image": features},
            },
            limit,
            sampling=self.sampling,
            guards=[text_guard(self._decode)],
            answer_header=self._header,
            on_ids=lambda new: show(pieces.feed(new)),
            # Who wants nothing to be kept says so in the model's generation configuration.
            cache=None if self._model.generation_config.use_cache is False else self._cache,
            decoder=self._decoder,
        )
        if answer.finish_reason != "loop":
            show(pieces.rest())
        turn = Turn(
            question,
            self._decode(answer.ids) if answer.finish_reason == "loop" else "".join(shown),
            len(answer.ids),
            time.monotonic() - started,
            answer.finish_reason,
            self._remark(answer, len(prompt), limit),
            len(prompt),
            cached,
            tuple(answer.ids),
        )
        self._turns.append(turn)
        return turn

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the conversation as Markdown, text or JSON, by the ending of the name (.md, .txt, .json).

        Returns the file's path: a name that is taken gets a number (STEM-2.md), nothing is replaced.

        Raises `OutputError` for another ending and for a place that cannot be written.
        """
        target = Path(path)
        return write_new_file(target, render_transcript(self.to_dict(), target))

    def to_dict(self) -> dict[str, Any]:
        """The conversation as plain values: what was asked about which page, of which model, and how."""
        model = self._model
        turns = [asdict(replace(turn, ids=())) for turn in self._turns]
        return {
            "image": self.page.source,
            "page": self.page.index + 1,
            "model": {
                "name": self._reader.name,
                "version": model.config.checkpoint_version,
                "vary_version": __version__,
            },
            "settings": {
                "device": str(self._reader.device),
                "dtype": str(model.dtype).removeprefix("torch."),
                "layout": self.layout or self._reader.processor.layouts[0],
                "system": self.system,
                "max_new_tokens": self.max_new_tokens,
                **asdict(self.sampling),
            },
            "turns": [{name: value for name, value in turn.items() if name != "ids"} for turn in turns],
        }

    def _follow_sampling(self) -> None:
        """Takes what follows the sampling as it is now; what was read stays where it is still the same."""
        self._model, decoder = self._reader.computing(self.sampling)
        if decoder is not self._decoder:
            self._decoder = decoder
            self._cache = PromptCache(self._model, decoder)

    def _image_features(self) -> VaryImageFeatures:
        """The image as the model sees it, encoded at the first question."""
        if self._features is None:
            reader = self._reader
            inputs = reader.processor.image_inputs([np.asarray(self.page.image)], layout=self.layout)
            with torch.inference_mode():
                self._features = self._model.get_image_features(**inputs.to(reader.device))
        return self._features

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if self.system is not None:
            messages.append({"role": "system", "content": self.system})
        for turn in turns:
            messages.append(self._question(turn.question, first=turn is turns[0]))
            messages.append({"role": "assistant", "content": turn.text, "ids": list(turn.ids)})
        return messages

    @staticmethod
    def _question(text: str, *, first: bool) -> dict[str, Any]:
        words = [{"type": "text", "text": text}]
        return {"role": "user", "content": [{"type": "image"}, *words] if first else words}

    def _prompt(self, question: str) -> list[int]:
        """The ids of the whole conversation up to the answer."""
        messages = [*self.messages, self._question(question, first=not self._turns)]
        processor = self._reader.processor
        return processor.chat_ids(messages, [int(processor.image_seq_length or 0)], layout=self.layout)

    def _limit(self, prompt_length: int) -> int:
        """The most tokens that the answer may have."""
        limit = self.context_length
        if limit is None:
            return self.max_new_tokens or ANSWER_TOKENS
        room = limit - prompt_length
        if room < 1:
            raise ContextError(
                f"the conversation has {prompt_length} tokens with this question, and "
                f"{self._reader.name} holds {limit} with the answer; ask a shorter question, or start afresh "
                "with reset() (/reset in vary chat)"
            )
        return min(room, self.max_new_tokens or room)

    def _remark(self, answer: Generation, prompt_length: int, limit: int) -> str:
        """What there is to say about how an answer ended."""
        if answer.finish_reason == "loop":
            found = answer.finding.message if answer.finding else "it repeats itself"
            return f"the answer ran into a repetition ({found}) and was cut before it"
        if answer.finish_reason == "stop":
            return ""
        whole = self.context_length
        if whole is not None and prompt_length + limit >= whole:
            return (
                f"the answer was cut: the conversation has reached the {whole} tokens that "
                f"{self._reader.name} holds; start afresh with reset() (/reset in vary chat)"
            )
        return f"the answer was cut at {limit} tokens; raise max_new_tokens for a longer one"

    def _decode(self, ids: Sequence[int]) -> str:
        tokenizer = self._reader.processor.tokenizer
        return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def check_chat(reader: ChatReader) -> None:
    """Raises TaskError, with the reason, for a checkpoint that was not trained to answer questions."""
    config = reader.computing(Sampling())[0].config
    if config.window == "lines":
        raise TaskError(
            f"{reader.name} reads single text lines and cannot answer questions about a page; "
            "read it with `vary read`, or chat with a checkpoint such as Vary-toy"
        )
    if FREE_PROMPT not in config.tasks:
        raise TaskError(
            f"{reader.name} was not trained to answer questions (its tasks are {', '.join(config.tasks)}); "
            "read with `vary read --task`, or chat with a checkpoint such as Vary-toy"
        )
