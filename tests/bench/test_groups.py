"""Who is alive at a time, and what is added up instead of measured."""

from __future__ import annotations

import pytest

from vary.bench import running
from vary.bench.orders import Subject
from vary.bench.result import Result
from vary.bench.rounds import Case, Stage
from vary.bench.settings import BenchSettings, Entrant
from vary.bench.shapes import DecoderSize, shape_config

SUBJECT = Subject(shape="vary-toy", checkpoint="", seed=0, device="cpu", threads=2)
CONFIG = shape_config("vary-toy")
MEMBERS = [
    Entrant("vary", "vary int4", "float32", "int4"),
    Entrant("vary", "vary float32", "float32", "float32"),
    Entrant("transformers", "transformers float32", "float32", "float32"),
    Entrant("onnxruntime", "onnxruntime int4", "", "int4"),
]
PAGE = Case("page", {"prompt": 300, "tokens": 719}, 1, "pages")


def plan(**settings: float) -> running._Plan:
    chosen = BenchSettings(subject=SUBJECT, **settings)  # type: ignore[arg-type]
    return running._Plan(chosen, CONFIG, DecoderSize.of(CONFIG), 400_000_000, MEMBERS)


def groups(gigabytes: float | None, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    free = None if gigabytes is None else int(gigabytes * 1e9)
    monkeypatch.setattr(running, "available_memory", lambda: free)
    stage = Stage(("decoder",), [], 400)
    return [[member.label for member in group] for group in running._groups(MEMBERS, stage, plan())]


def test_all_are_alive_where_memory_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = [member.label for member in MEMBERS]
    assert groups(64, monkeypatch) == [everybody]
    assert groups(None, monkeypatch) == [everybody]


def test_the_first_one_is_in_every_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert groups(14, monkeypatch) == [
        ["vary int4", "vary float32"],
        ["vary int4", "transformers float32"],
        ["vary int4", "onnxruntime int4"],
    ]
    # Even where memory is too small for two: the machine may still manage, or the failure is named.
    assert all(len(group) == 2 for group in groups(2, monkeypatch))
    assert running._groups([], Stage(("decoder",), [], 400), plan()) == []


def test_memory_is_planned_by_weights_and_caches() -> None:
    size = DecoderSize.of(CONFIG)
    four, eight, full = (
        Entrant("vary", "", "float32", kind).memory(size, 0, 0, ["decoder"])
        for kind in ("int4", "int8", "float32")
    )
    assert 1.2e9 < four < 2e9 < eight < 3.2e9 < 6e9 < full < 9e9
    longer = MEMBERS[0].memory(size, 0, 1000, ["decoder"]) - four
    assert longer == 1000 * 24 * 2 * 2048 * 4


def with_phases(encode: float, prefill: float, step: float) -> Result:
    result = running._empty_result(plan(), [], 0)
    cases = (
        (Case("encode", {"images": 1}, 1, "pages"), encode),
        (Case("prefill", {"tokens": 300}, 300, "tokens"), prefill),
        (Case("decode", {"context": 300, "sequences": 1, "tokens": 1, "steps": 16}, 1, "tokens"), step),
    )
    for case, seconds in cases:
        label = "vary float32" if case.phase == "encode" else "vary int4"
        found = case.measurement(Entrant("vary", label, "float32", "int4"), 0)
        found.seconds = [seconds]
        result.measurements.append(found)
    return result


def test_a_page_beyond_the_limit_is_added_up() -> None:
    result = with_phases(2.0, 1.0, 0.5)
    assert running._too_long(MEMBERS[0], PAGE, plan(limit=300.0).settings, result)
    [page] = result.find("page")
    assert page.seconds == [pytest.approx(2.0 + 1.0 + 719 * 0.5)]
    assert not page.measured


def test_a_page_within_the_limit_is_measured() -> None:
    result = with_phases(2.0, 1.0, 0.1)
    assert not running._too_long(MEMBERS[0], PAGE, plan(limit=300.0).settings, result)
    # Nothing is known of others, so nothing can be added up.
    assert not running._too_long(MEMBERS[2], PAGE, plan(limit=0.1).settings, result)
    assert result.find("page") == []
