"""A checkpoint of Vary-toy's size with random weights: converted, read with, and brought back bit for bit.

    python benchmarks/published_size.py --tokenizer qwen.tiktoken --page page.png --work /tmp/vary

Every step is a process of its own; its time and the most memory that was resident in it, mapped files
included, are printed as a Markdown table.  Needs about 16 GB of disk, and 6 GB of memory for making the
weights.  The weights are random, so the answers are nonsense; the published weights are not needed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from vary.model.checkpoint_files import checkpoint_files
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import preset_config
from vary.weights.files import TensorFiles
from vary.weights.formats.names import QWEN_NAMES

VARY = [sys.executable, "-m", "vary"]
CONFIG = {
    "architectures": ["varyQwenForCausalLM"],
    "model_type": "vary",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "kv_channels": 128,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "layer_norm_epsilon": 1e-06,
    "rotary_emb_base": 10000,
    "seq_length": 8192,
    "tie_word_embeddings": False,
    "vision_select_layer": -2,
    "im_start_token": 151857,
    "im_end_token": 151858,
    "im_patch_token": 151859,
    "vocab_size": 151860,
}


def make_checkpoint(folder: Path, tokenizer: Path, seed: int) -> int:
    """The authors' folder with random bfloat16 weights; returns the number of parameters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {
            n: p.shape
            for n, p in VaryForConditionalGeneration(preset_config("vary-toy")).state_dict().items()
        }
    parts: dict[str, dict[int, Tensor]] = {}
    for name, shape in shapes.items():
        place = QWEN_NAMES.theirs(name)
        assert place is not None
        tensor = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)
        if len(shape) == 1 and name.endswith("weight"):
            tensor += 1
        parts.setdefault(place.name, {})[place.part] = tensor
    state = {}
    for name in list(parts):
        found = parts.pop(name)
        state[name] = torch.cat([found[part] for part in sorted(found)]) if len(found) > 1 else found[0]
    folder.mkdir(parents=True)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    shutil.copyfile(tokenizer, folder / "qwen.tiktoken")
    return sum(tensor.numel() for tensor in state.values())


def step(title: str, command: list[str], text: str = "") -> str:
    """Runs a process, prints its row, and returns its standard output."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.close()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    code = os.waitstatus_to_exitcode(status)
    print(f"| {title} | {seconds:.1f} s | {usage.ru_maxrss / 1e6:.2f} GB | {code} |", flush=True)
    return output


def same(first: Path, second: Path) -> str:
    """Whether two checkpoints hold the same tensors, bit for bit."""
    one, two = (TensorFiles(checkpoint_files(path)) for path in (first, second))
    if one.info != two.info:
        return "other names, shapes or types"
    for name in one.info:
        left, right = one.read([name])[name], two.read([name])[name]
        if not torch.equal(left.view(torch.uint8), right.view(torch.uint8)):
            return f"{name} differs"
    return f"all {len(one.info)} tensors are equal bit for bit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True, help="qwen.tiktoken")
    parser.add_argument("--page", type=Path, required=True, help="an image to ask about")
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder for the checkpoints; it must be new"
    )
    parser.add_argument("--tokens", type=int, default=16, help="new tokens of an answer")
    parser.add_argument("--make", action="store_true", help="only make the checkpoint, in WORK/theirs")
    args = parser.parse_args()
    work: Path = args.work
    if args.make:
        parameters = make_checkpoint(work / "theirs", args.tokenizer, seed=0)
        print(f"{parameters:,} parameters, bfloat16\n", flush=True)
        return
    # In a process of its own: a process that is started by a large one counts its memory as its own.
    subprocess.run([sys.executable, *sys.argv, "--make"], check=True)
    print("| step | time | memory | exit code |\n|---|---|---|---|", flush=True)
    convert = [*VARY, "weights", "convert"]
    step("authors to ours", [*convert, str(work / "theirs"), str(work / "ours")])
    options = ["--dtype", "bfloat16", "--max-new-tokens", str(args.tokens), "--model", str(work / "ours")]
    page = str(args.page)
    answers = {
        "read": step("vary read", [*VARY, "read", page, *options]),
        "chat": step(
            "vary chat, two questions", [*VARY, "chat", page, *options], "What is this?\nAnd why?\n"
        ),
    }
    settings = (
        f"model:\n  compute_dtype: bfloat16\n  checkpoint_name_or_path: {work / 'ours'}\n"
        f"  max_new_tokens: {args.tokens}\n  repetition_penalty: 1.5\n"
    )
    (work / "vary_toy.yaml").write_text(settings)
    predict = [*VARY, "predict", "--image_dir", page, "--query", "Provide the ocr results of this image."]
    predict += ["--config_path", str(work / "vary_toy.yaml"), "--chat_mode", "False"]
    answers["predict"] = step("vary predict", predict)
    direct = ["--model", str(work / "theirs"), *options[:-2]]
    answers["read, authors' folder"] = step("vary read, authors' folder", [*VARY, "read", page, *direct])
    step("ours back to authors", [*convert, str(work / "ours"), str(work / "back"), "--to", "authors"])
    trips = {"authors -> ours -> authors": same(work / "theirs", work / "back")}
    shutil.rmtree(work / "back")
    shutil.rmtree(work / "theirs")
    step("ours to MindSpore", [*convert, str(work / "ours"), str(work / "ms"), "--to", "mindspore"])
    step("MindSpore to ours", [*convert, str(work / "ms"), str(work / "again")])
    trips["ours -> MindSpore -> ours"] = same(work / "ours", work / "again")
    shutil.rmtree(work)
    print()
    for name, result in trips.items():
        print(f"- {name}: {result}")
    for name, text in answers.items():
        print(f"- {name} answered {len(text)} characters: {text[:60]!r}")


if __name__ == "__main__":
    main()
