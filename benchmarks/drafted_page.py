"""A whole page by a model of Vary-toy's size on this CPU: without a draft, and with drafts that have errors.

python benchmarks/drafted_page.py --tokenizer qwen.tiktoken --text FILE [--tokens 719] [--precision int4-g64]

The weights are random, so the answer is given: the first tokens of a text.  Every step is computed in full,
and then the given token's score is raised above all others.  Drafts are that text with 3 % of its characters
wrong: of five, three are replaced, one is lost and one comes with another.  A page is its image, a prompt of
300 tokens and the answer; settings take turns, and what is printed are medians.  How fast memory was read
stands beside them, measured before every page: without a draft nothing else counts.
"""

from __future__ import annotations

import argparse
import lzma
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vary.bench.contestants.vary import NATIVE, Vary
from vary.bench.contestants.vary_decoders import build_decoder
from vary.bench.limits import Limits
from vary.bench.orders import order_of
from vary.engine.decoders.interface import Decoder, Entry
from vary.engine.decoding import Prompt, decode
from vary.engine.drafts import TextDraft
from vary.engine.prompts import DraftUse
from vary.model.tokenization import encode_text, load_qwen_tokenizer

PROMPT, WRONG = 300, 0.03
BURST = 20
"""Wrong characters in a row."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Led:
    """A decoder behind whose scores the given answer stands; it computes everything all the same."""

    def __init__(self, decoder: Decoder, answer: Sequence[int]) -> None:
        self._decoder, self._answer = decoder, answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def read(self, entries: Sequence[Entry]) -> Tensor:
        ends = [self.length(entry.sequence) + len(entry.embeddings) for entry in entries]
        scores = self._decoder.read(entries)
        row = 0
        for entry, end in zip(entries, ends, strict=True):
            for place in range(end - entry.scored - PROMPT + 1, end - PROMPT + 1):
                if 0 <= place < len(self._answer):
                    scores[row, self._answer[place]] = 1e4
                row += 1
        return scores


def spoilt(text: str, burst: int) -> str:
    """The text with wrong characters, `burst` of them in a row."""
    source = random.Random(0)
    starts = source.sample(range(len(text) // burst), round(WRONG * len(text) / burst))
    wrong = {start * burst + step for start in starts for step in range(burst)}

    def written(place: int) -> str:
        letter = text[place]
        if place not in wrong:
            return letter
        kind, other = source.random(), source.choice(LETTERS)
        return other if kind < 0.6 else "" if kind < 0.8 else letter + other

    return "".join(map(written, range(len(text))))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", required=True, help="Qwen's vocabulary, a .tiktoken file")
    parser.add_argument("--text", type=Path, required=True, help="plain or .xz, long enough for --tokens")
    parser.add_argument("--tokens", type=int, default=719)
    parser.add_argument("--precision", default="int4-g64")
    parser.add_argument("--vision", default="bfloat16", help="of our kernels: bfloat16, int16, ...")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    tokenizer = load_qwen_tokenizer(args.tokenizer)
    raw = args.text.read_bytes()
    text = (lzma.decompress(raw) if args.text.suffix == ".xz" else raw).decode()
    answer = encode_text(tokenizer, text[: 20 * args.tokens])[: args.tokens]
    text = tokenizer.decode(answer)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        measure(args, answer, text, tokenizer, Path(folder))


def measure(args: argparse.Namespace, answer: list[int], text: str, tokenizer: Any, folder: Path) -> None:
    threads = torch.get_num_threads()
    request = {"shape": "vary-toy", "checkpoint": "", "seed": 0, "device": "cpu", "threads": threads}
    encoder = Vary().encoding(order_of(request, NATIVE + args.vision, folder))
    decoder = build_decoder(order_of(request, args.precision, folder))
    assert encoder is not None
    torch.manual_seed(0)
    pixels = {"pixel_values": torch.randn(1, 3, 1024, 1024), "pixel_values_clip": torch.randn(1, 3, 224, 224)}
    led = Led(decoder, answer)

    def draft_of(guess: str | None) -> TextDraft | None:
        if guess is None:
            return None
        return TextDraft(guess, lambda part: encode_text(tokenizer, part), tokenizer.decode)

    guesses = {
        "no draft": None,
        "3 % wrong, at random": spoilt(text, 1),
        f"3 % wrong, {BURST} in a row": spoilt(text, BURST),
        "the answer itself": text,
    }
    limits, speeds = Limits(torch.device("cpu")), []
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in guesses}
    uses: dict[str, DraftUse] = {}  # the same in every round
    for _ in range(args.rounds):
        for name, guess in guesses.items():
            speeds.append(limits.read())
            started = time.perf_counter()
            image = encoder.encode(pixels)[0].float()
            encoded = time.perf_counter()
            prompt = torch.cat([image, decoder.embed([0] * (PROMPT - len(image)))])
            draft = draft_of(guess)
            [(_, decoded)] = decode(
                led, [Prompt(prompt, limit=len(answer), draft=draft)], [], draft_cost=decoder.token_cost
            )
            assert decoded.ids == answer, "a draft changed the answer"
            ended = time.perf_counter()
            took[name].append((encoded - started, ended - encoded))
            uses[name] = decoded.use
    print(f"{decoder.name}, {args.vision}, {threads} threads, {len(answer)} tokens, {len(text)} characters")
    print(
        f"memory read {statistics.median(speeds) / 1e9:.1f} GB/s "
        f"({min(speeds) / 1e9:.1f} to {max(speeds) / 1e9:.1f})"
    )
    print("| draft | image | prompt and answer | page | steps | accepted a step | times no draft |")
    print("|---|---|---|---|---|---|---|")
    base = statistics.median(map(sum, took["no draft"]))
    for name, rounds in took.items():
        encoding, decoding = (statistics.median(one[i] for one in rounds) for i in (0, 1))
        page = statistics.median(map(sum, rounds))
        use = uses[name]
        print(
            f"| {name} | {encoding:.2f} s | {decoding:.1f} s | {page:.1f} s | {use.steps} | "
            f"{use.accepted / use.steps:.1f} | {base / page:.2f} |"
        )


if __name__ == "__main__":
    main()
