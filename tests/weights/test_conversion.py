"""Conversion: from every format into ours and back bit for bit, or nothing at all and a reason."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GotOcr2ForConditionalGeneration

from authors_files import (
    HEADS,
    assert_equal,
    authors_state,
    byte_tokenizer,
    opt_600k_file,
    opt_folder,
    opt_model,
    speaking_toy,
    tensors_of,
    tiny_got,
    toy_folder,
)
from factories import page_batch, random_model, tiny_toy_config
from real_mindspore import run_mindspore
from vary.cli.main import main
from vary.cli.weights import convert as command
from vary.errors import CheckpointError
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.weights import writing
from vary.weights.conversion import ORIGIN, convert
from vary.weights.formats.names import MINDOCR_NAMES, QWEN_NAMES
from vary.weights.formats.their_settings import TARGETS
from vary.weights.loading import load_checkpoint, load_foreign
from vary.weights.mindspore.files import write_mindspore


def test_golden_checkpoint_there_and_back(shared_dir: Path, tmp_path: Path) -> None:
    theirs = shared_dir / "golden" / "tiny"
    report = convert(theirs, tmp_path / "ours", shard_bytes=400_000)
    assert (report.source, report.target, report.left_out, report.rounded) == ("vary-qwen", "vary", (), 0)
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) == 5
    convert(tmp_path / "ours", tmp_path / "back", to="authors")
    assert (tmp_path / "back" / "pytorch_model.bin").is_file()
    convert(tmp_path / "ours", tmp_path / "shards", to="authors", shard_bytes=400_000)
    assert len(list((tmp_path / "shards").glob("pytorch_model-*-of-00005.bin"))) == 5
    for back in (tmp_path / "back", tmp_path / "shards"):
        assert_equal(tensors_of(back), tensors_of(theirs))
        configs = [json.loads((folder / "config.json").read_text()) for folder in (theirs, back)]
        assert configs[0] == configs[1]
        sizes = [path.stat().st_size for path in back.glob("*.bin")]
        assert sum(sizes) < 1.2 * (theirs / "pytorch_model.bin").stat().st_size, "views drag nothing along"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("make", "write"),
    [
        (lambda: random_model(tiny_toy_config()), toy_folder),
        (opt_model, opt_folder),
        (opt_model, opt_600k_file),
    ],
    ids=["toy", "tiny", "600k"],
)
def test_authors_formats_there_and_back(
    tmp_path: Path,
    make: Callable[[], VaryForConditionalGeneration],
    write: Callable[[Path, VaryForConditionalGeneration], Path],
    dtype: torch.dtype,
) -> None:
    model = make().to(dtype)
    theirs = write(tmp_path / "theirs", model)
    convert(theirs, tmp_path / "ours")
    ours = load_model(tmp_path / "ours")
    assert ours.dtype == dtype
    assert_equal(ours.state_dict(), model.state_dict())
    convert(tmp_path / "ours", tmp_path / "back", to="authors")
    assert_equal(tensors_of(tmp_path / "back"), tensors_of(theirs))
    folder = theirs if theirs.is_dir() else theirs.parent
    configs = [json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "back")]
    assert configs[0] == configs[1]


def test_mindocr_there_and_back(tmp_path: Path) -> None:
    """Authors, ours, MindSpore's file, ours again, authors again: nothing is lost on the way."""
    model = random_model(tiny_toy_config()).to(torch.bfloat16)
    theirs = toy_folder(tmp_path / "theirs", model)
    convert(theirs, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "mindspore", to="mindspore")
    convert(tmp_path / "mindspore", tmp_path / "again")
    assert_equal(tensors_of(tmp_path / "again"), tensors_of(tmp_path / "ours"))
    convert(tmp_path / "again", tmp_path / "back", to="authors")
    assert_equal(tensors_of(tmp_path / "back"), tensors_of(theirs))


READ_AND_WRITE = """
import sys
import numpy, mindspore
source, target, values = sys.argv[1:]
parameters = mindspore.load_checkpoint(source)
mindspore.save_checkpoint([{"name": n, "data": p} for n, p in parameters.items()], target)
numpy.savez(values, **{n: p.astype(mindspore.float32).asnumpy() for n, p in parameters.items()})
"""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_real_mindspore_reads_what_we_write_and_writes_what_we_read(tmp_path: Path, dtype: str) -> None:
    convert(toy_folder(tmp_path / "theirs", random_model(tiny_toy_config())), tmp_path / "ours", dtype=dtype)
    convert(tmp_path / "ours", tmp_path / "ms", to="mindspore")
    expected = tensors_of(tmp_path / "ms" / "vary_toy.ckpt")
    written, values = tmp_path / "ms" / "again.ckpt", tmp_path / "values.npz"
    run_mindspore(READ_AND_WRITE, tmp_path / "ms" / "vary_toy.ckpt", written, values)
    with np.load(values) as found:
        assert set(found.files) == set(expected)
        for name, tensor in expected.items():
            assert torch.equal(torch.from_numpy(found[name]), tensor.float()), name
    convert(written, tmp_path / "again")
    assert_equal(tensors_of(tmp_path / "again"), tensors_of(tmp_path / "ours"))


def test_a_file_that_states_its_checksum_is_held_to_it(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    convert(toy_folder(tmp_path / "theirs", model), tmp_path / "ms", to="mindspore")
    path = tmp_path / "ms" / "vary_toy.ckpt"
    tensors = tensors_of(path)
    path.unlink()
    write_mindspore(path, tensors.items(), checksum=True)
    convert(tmp_path / "ms", tmp_path / "ours")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the middle of a tensor
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"vary_toy.ckpt is damaged: it states the CRC-32"):
        convert(tmp_path / "ms", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_mindocr_file_alone(tmp_path: Path) -> None:
    """The published file has no configuration beside it; what shapes do not say may be given."""
    model = random_model(tiny_toy_config())
    convert(toy_folder(tmp_path / "theirs", model), tmp_path / "ms", to="mindspore")
    file = tmp_path / "alone" / "vary_toy.ckpt"
    file.parent.mkdir()
    (tmp_path / "ms" / "vary_toy.ckpt").rename(file)
    with pytest.raises(CheckpointError, match=r"vary_toy.ckpt: a CLIP branch 16 wide"):
        convert(file, tmp_path / "ours")
    given = {**HEADS, "clip_config": {"num_attention_heads": 2}, "im_patch_token": 91}
    convert(file, tmp_path / "ours", settings={**given, "im_start_token": 92, "im_end_token": 93})
    ours = load_model(tmp_path / "ours")
    batch = page_batch(model.config, [1, 2])
    with torch.no_grad():
        assert torch.equal(ours(**batch).logits, model(**batch).logits)


def test_the_names_of_a_mindocr_file(tmp_path: Path) -> None:
    """As the seed's conversion makes them of the authors' names."""
    model = random_model(tiny_toy_config())
    convert(toy_folder(tmp_path / "theirs", model), tmp_path / "ms", to="mindspore", dtype="float16")
    tensors = tensors_of(tmp_path / "ms" / "vary_toy.ckpt")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    state = authors_state(model.state_dict(), QWEN_NAMES)
    expected = {
        "transformer.wte.embedding_weight": state["transformer.wte.weight"],
        "transformer.layers.1.attention.wk.bias": state["transformer.h.1.attn.c_attn.bias"][24:48],
        "transformer.layers.0.feed_forward.w3.weight": state["transformer.h.0.mlp.w2.weight"],
        "transformer.layers.0.ffn_norm.weight": state["transformer.h.0.ln_2.weight"],
        "transformer.vision_tower_high.blocks.3.norm1.gamma": state[
            "transformer.vision_tower_high.blocks.3.norm1.weight"
        ],
        "transformer.vision_tower_high.neck.1.weight": state["transformer.vision_tower_high.neck.1.weight"],
        "transformer.ln_f.weight": state["transformer.ln_f.weight"],
    }
    clip = "transformer.vision_tower"
    for there, here in {
        "positional_embedding": "embeddings.position_embedding.weight",
        "conv1.weight": "embeddings.patch_embedding.weight",
        "ln_pre.beta": "pre_layrnorm.bias",
        "transformer.resblocks.2.ln_2.gamma": "encoder.layers.2.layer_norm2.weight",
        "transformer.resblocks.2.mlp.c_proj.bias": "encoder.layers.2.mlp.fc2.bias",
        "transformer.resblocks.2.attn.out_proj.weight": "encoder.layers.2.self_attn.out_proj.weight",
        "vision_model.post_layernorm.weight": "post_layernorm.weight",
    }.items():
        expected[f"{clip}.{there}"] = state[f"{clip}.vision_model.{here}"]
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor.half()), name
    assert len(tensors) == len(state) + 2 * 2 * 2  # two tensors in each of two layers, cut in three
    assert all(MINDOCR_NAMES.ours(name) for name in tensors)


@pytest.mark.parametrize("new_names", [False, True])
def test_got_ocr2_computes_the_same(tmp_path: Path, new_names: bool) -> None:
    theirs = tiny_got()
    theirs.save_pretrained(tmp_path / "theirs")
    rename_got(tmp_path / "theirs", new_names=new_names)
    convert(tmp_path / "theirs", tmp_path / "ours")
    ours = load_model(tmp_path / "ours")
    assert ours.config.text_config.rope_parameters["rope_theta"] == 1e6
    assert ours.lm_head.weight is ours.get_input_embeddings().weight
    assert ours.config.prompts == {"ocr": "OCR: ", "markdown": "OCR with format: "}
    ids = torch.tensor([[5, 6, 93, *[95] * 4, 94, 7, 8, 9]])
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():  # in double precision: how a processor adds up float32 is not what is compared
        expected = copy.deepcopy(theirs).double()(input_ids=ids, pixel_values=pixels).logits
        found = ours.double()(input_ids=ids, pixel_values=pixels).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    convert(tmp_path / "ours", tmp_path / "back", to="got-ocr2")
    back = GotOcr2ForConditionalGeneration.from_pretrained(tmp_path / "back")
    assert_equal(back.state_dict(), theirs.state_dict())


def rename_got(folder: Path, *, new_names: bool) -> None:
    """The names of the module tree, or those of files of before: without `model.`, the decoder as a whole."""

    def old(name: str) -> str:
        name = name.removeprefix("model.")
        is_decoder = name.startswith("language_model.") and not name.startswith("language_model.model.")
        return name.replace("language_model.", "language_model.model.", 1) if is_decoder else name

    def new(name: str) -> str:
        return f"model.{old(name)}".replace("language_model.model.", "language_model.", 1)

    tensors = {name: tensor for name, tensor in tensors_of(folder).items() if "lm_head" not in name}  # tied
    save_file(
        {(new if new_names else old)(name): t for name, t in tensors.items()}, folder / "model.safetensors"
    )


@pytest.mark.parametrize("to", ["vary", "authors", "mindspore"])
def test_tensors_that_do_not_lie_in_a_row(tmp_path: Path, to: str) -> None:
    """As `weight.t()` leaves them, and parameters that want a gradient."""
    model = random_model(tiny_toy_config())
    folder = toy_folder(tmp_path / "theirs", model)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    turned = {
        name: t.t().contiguous().t() if t.dim() == 2 else torch.nn.Parameter(t) for name, t in state.items()
    }
    assert not turned["lm_head.weight"].is_contiguous()
    torch.save(turned, folder / "pytorch_model.bin")
    convert(folder, tmp_path / "out", to=to)
    convert(tmp_path / "out", tmp_path / "ours")
    assert_equal(tensors_of(tmp_path / "ours"), dict(model.state_dict()))


def test_every_parameter_that_does_not_fit_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    folder = toy_folder(tmp_path / "theirs", model)
    state = authors_state(model.state_dict(), QWEN_NAMES)
    del state["transformer.h.0.ln_1.weight"]
    state["transformer.h.0.lora"] = torch.zeros(1)
    state["lm_head.weight"] = state["lm_head.weight"][1:]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError,
        match=r"1 unknown: transformer.h.0.lora; 1 missing: transformer.h.0.ln_1.weight; 1 misshapen: lm_h",
    ):
        convert(folder, tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_computed_tables_are_left_out_and_said(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    folder = toy_folder(tmp_path / "theirs", model)
    state = {**torch.load(folder / "pytorch_model.bin", weights_only=True)}
    state["transformer.rotary_emb.inv_freq"] = torch.ones(3)
    torch.save(state, folder / "pytorch_model.bin")
    report = convert(folder, tmp_path / "ours")
    assert report.left_out == ("transformer.rotary_emb.inv_freq",)
    assert json.loads((tmp_path / "ours" / ORIGIN).read_text())["left_out"] == list(report.left_out)


def test_changes_since_the_conversion_show_in_the_authors_config(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    convert(toy_folder(tmp_path / "theirs", model), tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    config["vision_select_layer"] = -1
    (tmp_path / "ours" / "config.json").write_text(json.dumps(config))
    convert(tmp_path / "ours", tmp_path / "back", to="authors")
    settings = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (settings["vision_select_layer"], settings["_their_own"]) == (-1, ["key", 1.0])


@pytest.mark.parametrize("target", ["authors", "mindspore"])
def test_a_model_that_was_never_theirs(tmp_path: Path, target: str) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs", to=target)
    found = load_foreign(tmp_path / "theirs")
    assert_equal(found.state_dict(), model.state_dict())
    batch = page_batch(model.config, [1])
    with torch.no_grad():
        assert torch.equal(found(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize(
    ("make", "target", "reason"),
    [
        (opt_model, "mindspore", "MindOCR's Vary-toy: its decoder is qwen2, this one is opt"),
        (opt_model, "got-ocr2", "its decoder is qwen2"),
        (lambda: random_model(tiny_toy_config()), "got-ocr2", "it has no CLIP branch"),
    ],
)
def test_a_model_that_a_format_cannot_hold(
    tmp_path: Path, make: Callable[[], VaryForConditionalGeneration], target: str, reason: str
) -> None:
    make().save_pretrained(tmp_path / "ours")
    with pytest.raises(CheckpointError, match=f"cannot be written as '{target}'.*{reason}"):
        convert(tmp_path / "ours", tmp_path / "theirs", to=target)
    assert not (tmp_path / "theirs").exists()


def test_the_shipped_checkpoint_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "convert", "vary-nano", str(tmp_path / "x"), "--to", "authors"]) == 2
    assert "this model cannot be written as 'authors'" in capsys.readouterr().err
    assert main(["weights", "convert", "vary-nano", str(tmp_path / "x"), "--dtype", "float32"]) == 0
    assert load_checkpoint(tmp_path / "x")[0].dtype == torch.float32


def test_unknown_targets(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="unknown target 'gguf'; expected one of vary, authors"):
        convert(tmp_path, tmp_path / "x", to="gguf")
    assert ("vary", *TARGETS) == command.TARGETS


def test_another_type_is_counted_and_never_overflows(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    folder = toy_folder(tmp_path / "theirs", model)
    report = convert(folder, tmp_path / "half", dtype="bfloat16")
    expected = sum(int((p != p.bfloat16().float()).sum()) for p in model.state_dict().values())
    assert (report.dtypes, report.rounded) == (("float32", "bfloat16"), expected)
    assert load_model(tmp_path / "half").dtype == torch.bfloat16
    assert convert(tmp_path / "half", tmp_path / "wide", dtype="float32").rounded == 0
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state["lm_head.weight"][0, 0] = 7e4
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"lm_head.weight holds 70000, which is too large for float16"):
        convert(folder, tmp_path / "small", dtype="float16")
    assert not (tmp_path / "small").exists()


def test_without_a_tokenizer_it_goes_on_and_says_so(tmp_path: Path) -> None:
    report = convert(toy_folder(tmp_path / "theirs", speaking_toy()), tmp_path / "ours")
    assert len(report.notes) == 1
    assert "no tokenizer beside the weights" in report.notes[0]
    assert "qwen.tiktoken" in report.notes[0]
    with pytest.raises(
        CheckpointError, match=r"converted without a tokenizer, so it does not read; .*qwen.tiktoken"
    ):
        load_checkpoint(tmp_path / "ours")


@pytest.mark.parametrize("beside", [True, False])
def test_with_a_tokenizer_the_folder_is_complete(tmp_path: Path, beside: bool) -> None:
    model = speaking_toy()
    folder = toy_folder(tmp_path / "theirs", model)
    (folder / "LICENSE").write_text("theirs")
    tokenizer = byte_tokenizer(folder / "qwen.tiktoken" if beside else tmp_path / "other.tiktoken")
    report = convert(folder, tmp_path / "ours", tokenizer=None if beside else tokenizer)
    assert report.notes == []
    assert (tmp_path / "ours" / "LICENSE").read_text() == "theirs"
    found, processor = load_checkpoint(tmp_path / "ours")
    direct, same = load_checkpoint(folder, tokenizer=None if beside else tokenizer)
    pixels = torch.zeros(3, 40, 30, dtype=torch.uint8).numpy()
    for layout in processor.layouts:
        inputs = [maker.build_inputs([pixels], "Text?", layout=layout) for maker in (processor, same)]
        assert torch.equal(inputs[0]["input_ids"], inputs[1]["input_ids"])
        assert torch.equal(inputs[0]["pixel_values"], inputs[1]["pixel_values"])
        answers = [
            maker.generate(**inputs[0], max_new_tokens=4, do_sample=False) for maker in (found, direct, model)
        ]
        assert torch.equal(answers[0], answers[1])
    assert inputs[0]["pixel_values"].shape == (1, 3, 128, 128)
    assert found.generation_config.eos_token_id == direct.generation_config.eos_token_id
    convert(tmp_path / "ours", tmp_path / "back", to="authors")
    assert (tmp_path / "back" / "qwen.tiktoken").read_bytes() == tokenizer.read_bytes()


def test_another_checkpoints_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    byte_tokenizer(folder / "qwen.tiktoken")
    with pytest.raises(CheckpointError, match=r"<imgpad> has id 472, but the checkpoint expects 91"):
        convert(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    folder = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    target = tmp_path / "ours"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(CheckpointError, match="nothing is overwritten"):
        convert(folder, target)
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    target.mkdir()  # an empty folder is as good as none
    convert(folder, target)
    assert (target / "config.json").is_file()


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(CheckpointError, match=r"needs 0.0 GB and the disk has 0.0 GB free"):
        convert(folder, tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("to", ["vary", "authors", "mindspore"])
def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    folder = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "save_file", full)
    monkeypatch.setattr(writing.torch, "save", full)
    monkeypatch.setattr(writing, "write_mindspore", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(.*No space left on device"):
        convert(folder, tmp_path / "ours", to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


KILLED = """
import os, sys
import vary.weights.writing as writing
save, count = writing.save_file, 0
def kill(*args, **options):
    global count
    save(*args, **options)
    count += 1
    if count == 2:
        os.kill(os.getpid(), {signal})
writing.save_file = kill
from vary.cli.main import main
sys.exit(main(["weights", "convert", {source!r}, {target!r}, "--shard-size", "0.00005"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_half_way_it_leaves_no_half_folder(
    tmp_path: Path, how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    code = KILLED.format(signal=int(how), source=str(folder), target=str(tmp_path / "ours"))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == (-9 if how == signal.SIGKILL else 130), ran.stderr
    assert not (tmp_path / "ours").exists()
    left = [path.name for path in tmp_path.iterdir() if path.name != "theirs"]
    assert len(left) == (1 if how == signal.SIGKILL else 0)
    assert main(["weights", "convert", str(folder), str(tmp_path / "ours")]) == 0
    assert ("left over from a conversion that was killed" in capsys.readouterr().err) == bool(left)
    load_model(tmp_path / "ours")


def run_convert(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vary", "weights", "convert", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    folder = toy_folder(tmp_path / "theirs", model)
    ran = run_convert(str(folder), str(tmp_path / "ours"), "--dtype", "bfloat16")
    assert ran.returncode == 0, ran.stderr
    parameters = sum(tensor.numel() for tensor in model.state_dict().values())
    assert ran.stdout.startswith(f"vary-qwen -> vary: {parameters:,} parameters, float32 -> bfloat16\n")
    assert "model.safetensors" in ran.stdout
    assert "of the numbers were rounded: bfloat16 cannot hold them exactly" in ran.stderr
    assert "no tokenizer beside the weights" in ran.stderr
    assert set(load_file(tmp_path / "ours" / "model.safetensors")) == set(model.state_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such folder or file"),
        ({}, "holds no weights"),
        ({"pytorch_model.bin": b"broken"}, "no PyTorch file of plain tensors"),
        ({"vary_toy.ckpt": b"broken"}, "vary_toy.ckpt"),
    ],
)
def test_the_command_names_a_source_that_is_none(
    tmp_path: Path, content: dict[str, bytes] | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    if content is not None:
        source.mkdir()
        for name, data in content.items():
            (source / name).write_bytes(data)
    assert main(["weights", "convert", str(source), str(tmp_path / "ours")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert str(source) in said
    assert not (tmp_path / "ours").exists()
