"""A tiny page model whose answers are given: everything of the reader runs but the choice of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from factories import random_model, tiny_text, tiny_toy_config
from vary.assets import nano_vocabulary
from vary.backends import pages
from vary.engine.generation import Generation
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.presets import ALL_TASKS
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text, load_character_tokenizer


def save_page_model(folder: Path, **changes: Any) -> Path:
    """A checkpoint like Vary-toy: both branches, all tasks, both languages; it spells in characters."""
    tokenizer = load_character_tokenizer(nano_vocabulary())
    settings = tiny_toy_config().to_dict()
    settings |= {
        "text_config": tiny_text(vocab_size=len(tokenizer), max_position_embeddings=4096),
        "image_token_id": tokenizer.convert_tokens_to_ids("<imgpad>"),
        "image_start_token_id": tokenizer.convert_tokens_to_ids("<img>"),
        "image_end_token_id": tokenizer.convert_tokens_to_ids("</img>"),
        "tasks": ALL_TASKS,
        "languages": ("en", "zh"),
        **changes,
    }
    config = VaryConfig(**settings)
    images = VaryImageProcessor(
        **PUBLISHED_IMAGE_SETTINGS["vary_toy"] | {"size": {"height": 128, "width": 128}, "clip_size": 28}
    )
    processor = VaryProcessor(
        images, tokenizer, image_seq_length=config.image_seq_length, chat_template=CHAT_TEMPLATES["vary_qwen"]
    )
    random_model(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class Answers:
    """Stands in for `generate` where pages are read in groups: gives the answers in turn, the last one over
    and over; see `use`.

    An answer goes through the loop guard and the length limit, as a model's would.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self._tokenizer = load_character_tokenizer(nano_vocabulary())
        self._answers = self._in_turn(list(answers))
        self.prompts: list[str] = []

    def use(self, replace: Callable[[Any, str, Any], object] = setattr) -> None:
        """Lets pages be read in groups, by this; `replace` may be a test's `monkeypatch.setattr`."""
        replace(pages, "runs_here", lambda *_: False)
        replace(pages, "generate", self)

    @staticmethod
    def _in_turn(answers: list[str]) -> Iterator[str]:
        yield from answers
        while True:
            yield answers[-1]

    def __call__(
        self, model: Any, inputs: Any, max_new_tokens: Sequence[int], *, guards: Any = None, **options: Any
    ) -> list[Generation]:
        answers = []
        for row, ids in enumerate(inputs["input_ids"].tolist()):
            self.prompts.append(self._tokenizer.decode(ids))
            written = encode_text(self._tokenizer, next(self._answers))
            for place, token in enumerate(written):
                assert guards is None or guards[row]([token]) is None, f"a loop was seen at token {place}"
            kept = written[: max_new_tokens[row]]
            end = "stop" if len(kept) == len(written) else "length"
            answers.append(Generation(kept, [-0.1] * len(kept), end))
        return answers
