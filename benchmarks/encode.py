"""The vision vocabulary network of Vary's size on this CPU, beside the library's encoder of the same shape.

python benchmarks/encode.py [--rounds 5] [--images 1] [--only "ours, native float32" "transformers float32"]

Random weights, the same for all.  All take turns in one process, and their medians are compared, with the
faster one of the library's; the peak of memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers.models.got_ocr2.configuration_got_ocr2 import GotOcr2VisionConfig
from transformers.models.got_ocr2.modeling_got_ocr2 import GotOcr2VisionEncoder

from vary.engine.vision import PRECISIONS, NativeBlocks
from vary.errors import NativeError
from vary.model.configuration import VisionVocabularyConfig
from vary.model.vision_vocabulary import VisionVocabulary

Encode = Callable[[Tensor], Tensor]
LIBRARY = {"transformers float32": torch.float32, "transformers bfloat16": torch.bfloat16}
EXACT = "transformers float32"
MODULES = "ours, PyTorch"
NAMES = (*(f"ours, native {precision}" for precision in PRECISIONS), MODULES, *LIBRARY)
HEADER = """\
| encoder | seconds an image | times the library's speed | GFLOP/s | share of the matmul rate \
| error | peak MiB above the weights |
|---|---|---|---|---|---|---|"""
# GOT-OCR2's names of our parameters.
RENAMED = (
    ("blocks.", "layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    ("patch_embed.proj.", "patch_embed.projection."),
    ("neck.0.", "neck.conv1."),
    ("neck.1.", "neck.layer_norm1."),
    ("neck.2.", "neck.conv2."),
    ("neck.3.", "neck.layer_norm2."),
)


def network() -> VisionVocabulary:
    """Vary's network with random weights, relative positions too."""
    torch.manual_seed(0)
    ours = VisionVocabulary(VisionVocabularyConfig()).eval()
    for name, parameter in ours.named_parameters():
        if "pos" in name:
            parameter.data.normal_(std=0.02)
    return ours


def library_encoder(ours: VisionVocabulary) -> GotOcr2VisionEncoder:
    """The library's encoder with our weights; it ends before the merging convolutions."""
    state = ours.state_dict()
    for old, new in RENAMED:
        state = {name.replace(old, new): value for name, value in state.items()}
    theirs = GotOcr2VisionEncoder(GotOcr2VisionConfig()).eval()
    theirs.load_state_dict({name: value for name, value in state.items() if not name.startswith("merge.")})
    return theirs


def encoders(names: list[str]) -> dict[str, Encode]:
    """Every encoder takes images (B, 3, 1024, 1024) to features (B, 256, 64, 64), ours also to tokens."""
    ours = network()
    found: dict[str, Encode] = {}

    def with_blocks(blocks: NativeBlocks | None) -> Encode:
        def encode(pixels: Tensor) -> Tensor:
            ours.block_runner = blocks
            features, _ = ours.encode(pixels)
            ours.merge_patches(features)
            return features

        return encode

    for precision in PRECISIONS:
        if (name := f"ours, native {precision}") in names:
            try:
                found[name] = with_blocks(NativeBlocks(ours, precision))
            except NativeError as error:
                print(f"not measured: {name}: {error}", file=sys.stderr)
    if MODULES in names:
        found[MODULES] = with_blocks(None)
    for name, dtype in LIBRARY.items():
        if name in names:
            found[name] = of_the_library(library_encoder(ours).to(dtype), dtype)
    return found


def of_the_library(theirs: GotOcr2VisionEncoder, dtype: torch.dtype) -> Encode:
    return lambda pixels: theirs(pixels.to(dtype)).last_hidden_state


def operations(config: VisionVocabularyConfig) -> float:
    """Floating point operations of an image, relative positions as two products and not folded in."""
    rows, columns = config.grid
    patches, width, neck = rows * columns, config.hidden_size, config.neck_channels
    multiplications = patches * config.num_channels * config.patch_size**2 * width
    for layer in range(config.num_hidden_layers):
        windowed = layer not in config.global_attention_layers
        down, across = (config.window_size,) * 2 if windowed else (rows, columns)
        keys = down * across
        multiplications += patches * width * (4 * width + 2 * int(config.mlp_ratio * width))
        multiplications += patches * width * (2 * keys + down + across)
    multiplications += patches * (width * neck + 9 * neck**2)
    for before, after in zip([neck, *config.merge_channels], config.merge_channels, strict=False):
        rows, columns = rows // 2, columns // 2
        multiplications += rows * columns * 9 * before * after
    return 2.0 * multiplications


def matmul_seconds() -> float:
    """Of the network's largest matrix product in float32, by PyTorch: 2 * 4096 * 768 * 3072 operations."""
    x, weight = torch.randn(4096, 768), torch.randn(3072, 768)
    started = time.perf_counter()
    x @ weight.T
    return time.perf_counter() - started


def peak_above(name: str, images: int) -> None:
    """Prints how far memory rises above what it is with the weights loaded, in MiB; for a fresh process."""
    encode = encoders([name])[name]
    pixels = torch.randn(images, 3, 1024, 1024)
    before = resident("VmRSS")
    encode(pixels)
    print(resident("VmHWM") - before)


def resident(name: str) -> float:
    """Of this process, in MiB: `VmRSS` now, `VmHWM` at most.  (What `resource` knows began in the parent.)"""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measured_peak(name: str, images: int) -> float:
    command = [sys.executable, __file__, "--peak", name, "--images", str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--peak", choices=NAMES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        peak_above(args.peak, args.images)
        return
    found = encoders(args.only)
    pixels = torch.randn(args.images, 3, 1024, 1024)
    features = {name: encode(pixels) for name, encode in found.items()}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    matmuls: list[float] = []
    for _ in range(args.rounds):
        for name, encode in found.items():
            started = time.perf_counter()
            encode(pixels)
            seconds[name].append(time.perf_counter() - started)
            matmuls.append(matmul_seconds())
    rate = 2 * 4096 * 768 * 3072 / statistics.median(matmuls) / 1e9
    work = operations(VisionVocabularyConfig()) / 1e9
    print(f"{torch.get_num_threads()} threads, {args.images} images at once, medians of {args.rounds} rounds")
    print(f"{work:.0f} GFLOP an image; float32 matmul of PyTorch: {rate:.0f} GFLOP/s")
    print(HEADER)
    exact = features.get(EXACT, features.get(MODULES))
    theirs = [statistics.median(seconds[name]) for name in LIBRARY if name in seconds]
    base = min(theirs, default=float("nan"))
    for name, times in seconds.items():
        took = statistics.median(times)
        speed = work * args.images / took
        error = "" if exact is None else f"{(features[name] - exact).norm() / exact.norm():.1e}"
        print(
            f"| {name} | {took / args.images:.2f} | {base / took:.2f} | {speed:.0f} | {speed / rate:.2f} "
            f"| {error} | {measured_peak(name, args.images):.0f} |"
        )


if __name__ == "__main__":
    main()
