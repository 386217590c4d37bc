"""The table of keys against the keys that users have: those of MindOCR's file, and of the shipped one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vary.configs import shipped_config
from vary.mindocr.keys import KEYS, SECTIONS, keys_table
from vary.mindocr.settings import Settings, read_settings

DOCS = Path(__file__).parent.parent.parent / "docs" / "mindocr.md"


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    assert isinstance(content, dict)
    flat: dict[str, object] = {}
    for name, value in content.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _shipped() -> Path:
    path = shipped_config()
    assert path is not None
    return path


@pytest.mark.shared
def test_every_key_of_the_notes_is_in_the_table(shared_dir: Path) -> None:
    notes = (shared_dir / "design" / "vary_facts.md").read_text(encoding="utf-8")
    found = re.search(r"^- YAML keys under `model:` (.*); under `processor:` (.*)\.$", notes, re.MULTILINE)
    assert found is not None
    names = [
        f"{section}.{part.split()[0]}"
        for section, listed in zip(("model", "processor"), found.groups(), strict=True)
        for part in listed.split(", ")
    ]
    assert len(names) >= 38
    assert [name for name in names if name not in KEYS] == []


def test_the_shipped_file_is_read_and_has_the_published_values() -> None:
    settings = read_settings(_shipped())
    assert settings == Settings(
        source=_shipped(),
        checkpoint="/path/to/vary_toy.ckpt",
        vocab_file="/path/to/qwen.tiktoken",
        context=2048,
        max_decode_length=2048,
        max_new_tokens=1024,
        do_sample=False,
        temperature=1.0,
        top_k=0,
        top_p=0.8,
        repetition_penalty=1.5,
        num_beams=1,
        stop_ids=(151643,),
        dtype="float16",
        use_past=True,
        expected=settings.expected,
        notes=(),
    )
    assert {name: value for name, (value, _) in settings.expected.items()} == {
        "model.hidden_size": 2048,
        "model.num_layers": 24,
        "model.num_heads": 16,
        "model.kv_channels": 128,
        "model.intermediate_size": 5504,
        "model.vocab_size": 151860,
        "model.rms_norm_eps": 1e-6,
        "model.rotary_emb_base": 10000,
    }


@pytest.mark.shared
def test_the_shipped_file_has_the_values_that_the_seed_names(shared_dir: Path) -> None:
    seed = (shared_dir / "seed" / "mindocr_vary_toy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", seed, re.DOTALL)
    assert len(blocks) == 1
    named = re.findall(r"^ +(\w+): ([^#\n]*?) *(?:#.*)?$", blocks[0], re.MULTILINE)
    named = [(name, value) for name, value in named if value]
    shipped = {
        name.rpartition(".")[2]: value
        for name, value in _flat(yaml.safe_load(_shipped().read_text(encoding="utf-8"))).items()
    }
    assert len(named) >= 6
    assert {name: shipped[name] for name, _ in named} == {name: yaml.safe_load(v) for name, v in named}


def test_the_shipped_file_has_every_key_that_mindocr_ships() -> None:
    names = set(_flat(yaml.safe_load(_shipped().read_text(encoding="utf-8"))))
    assert names <= set(KEYS)
    # The others are of earlier versions of the file, or only of the classes that read it.
    last = list(KEYS).index("model.kv_channels")
    assert [name for name in list(KEYS)[: last + 1] if name not in names] == []


def test_keys_stand_in_a_section_and_every_key_says_what_it_means() -> None:
    assert {name.rpartition(".")[0] for name in KEYS} == set(SECTIONS)
    for name, key in KEYS.items():
        assert key.what, name
        assert bool(key.only) == (key.outcome == "fixed"), name


def test_the_documentation_has_the_table() -> None:
    assert keys_table() in DOCS.read_text(encoding="utf-8"), "copy vary.mindocr.keys.keys_table() there"


def test_only_names_of_shipped_files_are_found() -> None:
    assert shipped_config("no.yaml") is None
    assert shipped_config("__init__.py") is None
    assert shipped_config("somewhere/vary_toy.yaml") == shipped_config()
