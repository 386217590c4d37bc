"""What vary-nano's decoder loses with weights of fewer bits, on painted lines that it never saw in training.

Texts come from a held-out corpus, typefaces are those that training leaves out.  For every precision: the
share of tokens that it would choose as float32 does (behind the same text), the mean divergence from its
probabilities, and the character error rate of decoding step by step.

python benchmarks/precision.py --corpus en.heldout.txt.xz [...] --languages en
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vary.assets import default_checkpoint
from vary.datagen.lines.engine import LineEngineConfig
from vary.engine.decoders.interface import Decoder, Entry
from vary.engine.decoders.native import NativeDecoder
from vary.engine.generation import generate
from vary.engine.precisions import PRECISIONS
from vary.evaluation.metrics import edit_distance
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures
from vary.model.processing import VaryProcessor
from vary.quantized import load_quantized
from vary.training.line_validation import Lines, validation_lines
from vary.weights.loading import load_checkpoint


@dataclass
class Line:
    """An encoded line: its prompt's ids, its image's features and what is written on it."""

    ids: Tensor
    features: VaryImageFeatures
    text: str


@torch.inference_mode()
def encode(model: VaryForConditionalGeneration, processor: VaryProcessor, lines: Lines) -> list[Line]:
    encoded = []
    for image, text in lines:
        inputs = processor.build_inputs([image], "")
        features = model.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
        encoded.append(Line(inputs["input_ids"], features, text))
    return encoded


def answer(model: VaryForConditionalGeneration, line: Line, decoder: Decoder) -> list[int]:
    inputs = {
        "input_ids": line.ids,
        "attention_mask": torch.ones_like(line.ids),
        "mm_encoder_outputs": {"image": line.features},
    }
    return generate(model, inputs, 2 * len(line.text) + 8, decoder=decoder)[0].ids


@torch.inference_mode()
def scores(model: VaryForConditionalGeneration, line: Line, ids: list[int], decoder: Decoder) -> Tensor:
    """Log-probabilities (len(ids) + 1, V) behind the prompt and each of `ids`."""
    prompt = model.model.embed(line.ids, line.features)[0]
    states = torch.cat([prompt, decoder.embed(ids)]) if ids else prompt
    sequence = decoder.open()
    table = decoder.read([Entry(sequence, states, len(ids) + 1)]).log_softmax(-1)
    decoder.close(sequence)
    return table


def packed(name: str) -> NativeDecoder:
    return load_quantized(default_checkpoint(), quantize=name)[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", nargs="+", type=Path, required=True)
    parser.add_argument("--languages", default="en")
    parser.add_argument("--lines", type=int, default=256)
    args = parser.parse_args()
    languages = tuple(args.languages.split(","))
    model, processor = load_checkpoint(default_checkpoint(), dtype=torch.float32)
    paint = LineEngineConfig(corpus=tuple(args.corpus), languages=languages)
    lines = encode(model.eval(), processor, validation_lines(paint, args.lines))
    plain = packed("float32")
    read = [answer(model, line, plain) for line in lines]
    wanted = [scores(model, line, ids, plain) for line, ids in zip(lines, read, strict=True)]
    print(f"{len(lines)} lines, {sum(len(line.text) for line in lines)} characters")
    print("| precision | bytes a token | same token | divergence | character error rate |")
    print("|---|---|---|---|---|")
    for name in ("float32", "bfloat16", *(name for name in PRECISIONS if "-" in name)):
        decoder = packed(name)
        same = total = edits = 0
        divergence = 0.0
        for line, ids, expected in zip(lines, read, wanted, strict=True):
            found = scores(model, line, ids, decoder)
            same += int((found.argmax(-1) == expected.argmax(-1)).sum())
            divergence += float((expected.exp() * (expected - found)).sum())
            total += len(found)
            text = processor.tokenizer.decode(answer(model, line, decoder))
            edits += edit_distance(text, line.text)
        characters = sum(len(line.text) for line in lines)
        print(
            f"| {name} | {decoder.weight_bytes / 1e6:.2f} MB | {same / total:.5f} | "
            f"{divergence / total:.5f} | {edits / characters:.5f} |"
        )


if __name__ == "__main__":
    main()
