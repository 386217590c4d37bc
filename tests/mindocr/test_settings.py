"""MindOCR's settings file: values typed and bounded, every problem listed with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.errors import SettingsError
from vary.mindocr.keys import DTYPES, KEYS
from vary.mindocr.settings import Settings, find_path, parse_settings, read_settings

PATHS = "model:\n  checkpoint_name_or_path: weights\n"


def model(text: str = "") -> Settings:
    """Settings with these lines in the section `model`."""
    return parse_settings(PATHS + "".join(f"  {line}\n" for line in text.splitlines()), "toy.yaml")


def problem(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "toy.yaml")
    return str(caught.value)


def test_what_is_left_out_is_what_mindocr_takes() -> None:
    settings = model()
    assert (settings.context, settings.max_decode_length, settings.max_new_tokens) == (2048, 1024, None)
    assert (settings.do_sample, settings.top_k, settings.top_p, settings.temperature) == (True, 5, 1.0, 1.0)
    assert (settings.repetition_penalty, settings.num_beams, settings.dtype) == (1.0, 1, "float16")
    assert settings.stop_ids == ()
    assert settings.expected == {}


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("repetition_penalty: 2", "repetition_penalty", 2.0),
        ("repetition_penalty: 15e-1", "repetition_penalty", 1.5),  # which YAML reads as text
        ("temperature: 1.0e+1", "temperature", 10.0),
        ("do_sample: no", "do_sample", False),
        ("eos_token_id: [1, 2]", "stop_ids", (1, 2)),
        ("eos_token_id: 7", "stop_ids", (7,)),
        ("max_new_tokens:", "max_new_tokens", None),
        ("max_new_tokens: null", "max_new_tokens", None),
        ("compute_dtype: bfloat16", "dtype", "bfloat16"),
    ],
)
def test_values_are_typed(line: str, field: str, value: object) -> None:
    found = getattr(model(line), field)
    assert found == value
    assert type(found) is type(value)


def test_a_small_number_without_a_dot_is_a_number() -> None:
    assert model("rms_norm_eps: 1e-6").expected == {"model.rms_norm_eps": (1e-6, 3)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("do_sample: 'False'", "'model.do_sample' is \"False\", expected True or False, without quotes"),
        ("do_sample: 0", "'model.do_sample' is 0, expected True or False"),
        ("num_beams: '2'", "'model.num_beams' is \"2\", expected a whole number"),
        ("num_beams: 2.0", "'model.num_beams' is 2.0, expected a whole number"),
        ("num_beams: true", "'model.num_beams' is true, expected a whole number"),
        ("num_beams: 0", "'model.num_beams' is 0, expected at least 1"),
        ("top_p: 1.2", "'model.top_p' is 1.2, expected more than 0 and at most 1"),
        ("top_p: 0", "'model.top_p' is 0, expected more than 0 and at most 1"),
        ("temperature: .nan", "'model.temperature' is .nan, expected a number"),
        ("temperature: '1.0'", "'model.temperature' is \"1.0\", expected a number"),
        ("temperature: warm", "'model.temperature' is warm, expected a number"),
        ("temperature:", "'model.temperature' is empty, expected a number"),
        ("temperature: [1]", "'model.temperature' is a list, expected a number"),
        ("temperature: {a: 1}", "'model.temperature' is a group of keys, expected a number"),
        ("repetition_penalty: -1.5", "expected more than 0"),
        ("compute_dtype: float64", "expected one of float16, bfloat16, float32"),
        ("name: MonkeyQwenForCausalLM", "expected VaryQwenForCausalLM"),
        ("rotary_pct: 0.25", "expected 1.0"),
        ("eos_token_id: []", "expected at least one token id"),
        ("eos_token_id: [1, -2]", "expected at least 0"),
        ("eos_token_id: [1, x]", "expected a whole number"),
        ("top_k: 2001-99-99", "'model.top_k' is 2001-99-99"),
        ("top_k: !!python/name:os.system", "not YAML that can be read"),
        ("top_kk: 3", "unknown key 'model.top_kk'; did you mean 'model.top_k'?"),
        ("seq_len: 3", "unknown key 'model.seq_len'; did you mean 'model.seq_length'?"),
        ("Top_P: 0.5", "unknown key 'model.Top_P'; did you mean 'model.top_p'?"),
        ("vocab_file: x", "unknown key 'model.vocab_file'; it belongs at 'processor.tokenizer.vocab_file'"),
        ("lora_rank: 3", "unknown key 'model.lora_rank'"),
        ("[1, 2]: 3", "unknown key 'model.?'"),
    ],
)
def test_a_value_that_cannot_be_followed_is_named_with_its_line(line: str, message: str) -> None:
    found = problem(f"{PATHS}  # a comment\n  {line}\n")
    assert found.startswith("toy.yaml, line 4: ")
    assert message in found


def test_all_problems_are_listed_in_order() -> None:
    found = problem(
        f"{PATHS}  top_p: 3\n  top_k: 1\n  top_k: 2\nprocesor:\n  type: QwenProcessor\n"
    ).splitlines()
    assert found[0] == "toy.yaml: 3 problems"
    assert [line.split(":")[0].strip() for line in found[1:]] == ["line 3", "line 5", "line 6"]
    assert "stands here for the second time" in found[2]
    assert "did you mean 'processor'?" in found[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the sections"),
        ("just text", "line 1: expected the sections"),
        ("model: 3", "line 1: 'model' is a single value"),
        ("processor:\n  type: QwenProcessor", "there is no section 'model'"),
        ("model:\n  a: [1", "line 2: not YAML"),
        ("a: b: c", "line 1: not YAML"),
        ("model:\n\ttop_k: 1", "line 2: not YAML"),
        ("[" * 20_000, "not YAML"),
    ],
)
def test_a_file_of_another_kind_is_refused(text: str, message: str) -> None:
    assert message in problem(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: the settings cannot be read \(No such file"):
        read_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"model:\n  name: \xff\n")
    with pytest.raises(SettingsError, match="not YAML"):
        read_settings(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 2**17)
    with pytest.raises(SettingsError, match="no settings file"):
        read_settings(tmp_path / "large.yaml")


_values = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=20), st.none(), st.sampled_from(DTYPES)
)


@given(st.sampled_from(sorted(KEYS)), _values)
def test_every_value_is_taken_or_refused_in_words(name: str, value: object) -> None:
    section, _, last = name.rpartition(".")
    parts = section.split(".")
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(parts)]
    text = "\n".join([*lines, f"{'  ' * len(parts)}{last}: {value}", ""])
    try:
        settings = parse_settings(PATHS + text if parts[0] != "model" else text, "toy.yaml")
    except SettingsError:
        return
    assert settings.context >= 1
    assert 0 < settings.top_p <= 1
    assert settings.dtype in DTYPES


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_settings(text, "toy.yaml")


@pytest.mark.parametrize(
    ("lines", "longest", "key"),
    [
        ("seq_length: 100\nmax_new_tokens: 30", 100, "seq_length"),
        ("seq_length: 100\nmax_new_tokens: 30\nmax_decode_length: 10", 100, "seq_length"),
        ("seq_length: 100\nmax_decode_length: 90", 90, "max_decode_length"),
        ("seq_length: 100\nmax_decode_length: 400", 100, "seq_length"),
        ("seq_length: 2000", 1024, "max_decode_length"),
    ],
)
def test_the_longest_text_is_mindocrs(lines: str, longest: int, key: str) -> None:
    assert (model(lines).longest, model(lines).longest_key) == (longest, key)


def test_what_differs_from_the_wish_is_noted() -> None:
    assert model("do_sample: True\nnum_beams: 1").notes == ()
    beams = model("do_sample: True\nnum_beams: 3")
    assert not beams.draws
    assert "nothing is drawn" in beams.notes[0]
    assert "batch_size is 4" in model("batch_size: 4").notes[0]
    assert "use_past is False" in model("use_past: False").notes[0]


def test_paths_are_looked_for_here_then_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (here, beside):
        folder.mkdir()
    monkeypatch.chdir(here)
    source = beside / "toy.yaml"
    assert find_path("toy.ckpt", source) is None
    (beside / "toy.ckpt").touch()
    assert find_path("toy.ckpt", source) == beside / "toy.ckpt"
    (here / "toy.ckpt").touch()
    assert find_path("toy.ckpt", source) == Path("toy.ckpt")
    assert find_path(str(beside / "toy.ckpt"), here / "x.yaml") == beside / "toy.ckpt"
    monkeypatch.setenv("HOME", str(beside))
    assert find_path("~/toy.ckpt", source) == beside / "toy.ckpt"
    assert find_path("~no such user/toy.ckpt", source) is None
    assert find_path("toy\0.ckpt", source) is None
