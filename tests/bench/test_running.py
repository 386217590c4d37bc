"""Turns, limits of time, groups, what is missing, and the result in all its forms."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from vary.bench import running
from vary.bench.contestants import onnxruntime, openvino
from vary.bench.contestants.llamacpp import LlamaCpp
from vary.bench.contestants.protocol import peer_module
from vary.bench.contestants.tesseract import Tesseract
from vary.bench.machine import load_average, peak_memory, restart_peak
from vary.bench.names import PEERS
from vary.bench.orders import Subject
from vary.bench.page import TEXT, paint_page
from vary.bench.plot import plot_result
from vary.bench.processes import Worker, WorkerError
from vary.bench.result import Limit, Measurement, Reading, Result, json_schema, median_ratio
from vary.bench.rounds import Case, Group, Stage
from vary.bench.settings import BenchSettings, Entrant, entrants
from vary.bench.shapes import DecoderSize, shape_config
from vary.bench.table import as_text, comparisons
from vary.errors import MissingDependencyError, VaryError

SUBJECT = Subject(shape="tiny", checkpoint="", seed=0, device="cpu", threads=1)
OURS = Entrant("vary", "vary int4", "float32", "int4")
THEIRS = Entrant("onnxruntime", "onnxruntime int4", "", "int4")
DECODE = Case("decode", {"context": 30, "sequences": 1, "tokens": 1, "steps": 2}, 1, "tokens")


def empty_result() -> Result:
    machine = {
        "processor": "a processor (AVX2)",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 2**34,
        "device": "cpu",
        "device_name": "a processor (AVX2)",
        "system": "Linux",
        "python": "3.11",
        "vary": "0.1.0",
        "commit": None,
        "packages": {},
    }
    size = DecoderSize.of(shape_config("tiny"))
    model = {
        "name": "random weights of tiny",
        "parameters": 600736,
        "read_per_token": size.read_per_token,
        "encode_flops": 1e9,
        "prefill_flops": 1e8,
        "decoder": {},
    }
    return Result(machine, model, {}, {"vary": {"torch": "2.13"}}, [0.5, 1.25])


def measured(entrant: Entrant, case: Case, *seconds: float, **values: Any) -> Measurement:
    found = case.measurement(entrant, 0)
    found.seconds = list(seconds)
    for name, value in values.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def full_result() -> Result:
    """Something of every phase."""
    result = empty_result()
    result.limits = [Limit("read", [2e10, 3e10, 1e10]), Limit("multiply float32", [1e11])]
    encode = Case("encode", {"images": 1}, 1, "pages")
    prefill = Case("prefill", {"tokens": 300}, 300, "tokens")
    several = Case("decode", {**DECODE.values, "tokens": 4}, 4, "tokens")
    together = Case("decode", {**DECODE.values, "sequences": 16}, 16, "tokens")
    page = Case("page", {"prompt": 300, "tokens": 719}, 1, "pages")
    memory = Case("memory", {"prompt": 300, "tokens": 8, "encoder": 1}, 1, "pages")
    for entrant, speed in ((OURS, None), (THEIRS, 0.5)):
        times = 1.0 if speed is None else 2.0
        result.measurements.append(measured(entrant, DECODE, 0.05 * times, speed=speed, share=0.8 / times))
        result.measurements += [
            measured(entrant, case, 0.1 * times, 0.3 * times, 0.2 * times, speed=speed, reference="vary int4")
            for case in (encode, prefill, several, together)
        ]
        result.measurements.append(measured(entrant, page, 30 * times, speed=speed, measured=speed is None))
        result.measurements.append(measured(entrant, memory, 1.0, bytes=10**9, loading_bytes=2 * 10**9))
    result.readings = [
        Reading("vary-nano, loaded", [2.0, 1.0, 3.0], 1700, 0.0123),
        Reading("tesseract, from process start", [4.0], 1700, None),
    ]
    result.missing = [{"label": "openvino", "reason": "not installed", "install": "pip install openvino"}]
    result.fail("transformers bfloat16", "its process ended (signal 9)")
    return result


def test_the_result_follows_its_schema(full_result: Result) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    content = json.loads(full_result.dumps())
    jsonschema.validate(content, json_schema())
    assert next(limit for limit in content["limits"] if limit["name"] == "read")["value"] == 2e10
    decode = [one for one in content["measurements"] if one["case"] == DECODE.values]
    assert [one["rate"] for one in decode] == [20.0, 10.0]
    content["measurements"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json_schema())


def test_the_table_says_it_all(full_result: Result) -> None:
    text = as_text(full_result)
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert "onnxruntime int4" in rows
    decode = text[text.index("decode at 30") :].splitlines()
    assert decode[2].split()[2:] == ["20.00", "1", "80%", "200", "ms", "(4.00x)", "80.0/s"]
    assert decode[3].split()[2:] == ["10.00", "0.50x", "40%", "400", "ms", "(4.00x)", "40.0/s"]
    for part in (
        "memory read 20.0 GB/s",
        "float32 products 100.0 GFLOP/s",
        "load average 0.5 before, 1.25 after",
        "about 60.00",
        "added up",
        "1.00 GB",
        "1.23%",
        "openvino: not installed; pip install openvino",
        "transformers bfloat16: its process ended (signal 9)",
        "vary int4 decodes 2.00 times as fast as onnxruntime int4",
        "vary-nano, loaded takes 0.50 times as long as Tesseract",
    ):
        assert part in text, part
    assert max(len(line) for line in text.splitlines()) <= 110


def test_an_empty_result_has_a_table_and_a_plot() -> None:
    assert as_text(empty_result()).startswith("random weights of tiny")
    assert comparisons(empty_result()) == []
    assert Image.open(io.BytesIO(plot_result(empty_result()))).format == "PNG"


def test_the_plot_grows_with_what_was_measured(full_result: Result) -> None:
    whole = Image.open(io.BytesIO(plot_result(full_result)))
    full_result.measurements = full_result.find("decode")
    part = Image.open(io.BytesIO(plot_result(full_result)))
    assert whole.width > part.width
    assert whole.height > part.height


def test_ratios_are_taken_round_by_round() -> None:
    # The third round was disturbed for both alike: the ratio is not.
    assert median_ratio([1.0, 1.0, 10.0], [2.0, 2.0, 20.0]) == 0.5
    assert median_ratio([1.0], [2.0, 9.0]) == 0.5
    assert median_ratio([], [2.0]) is None


class FakeWorker:
    """Answers with seconds from a list; None is a failure."""

    def __init__(self, *seconds: float | None) -> None:
        self._seconds = list(seconds)
        self.asked = 0
        self.alive = True

    def ask(self, what: str, seconds: float, **values: Any) -> dict[str, Any]:
        self.asked += 1
        if what == "limit":
            return {"per_second": 100.0}
        found = self._seconds.pop(0)
        if found is None:
            self.alive = False
            raise WorkerError("gone")
        return {"seconds": found}


def turns(ours: FakeWorker, theirs: FakeWorker, **settings: Any) -> Result:
    """A group of two that measures decoding."""
    result = empty_result()
    group: Any = Group(
        0,
        Stage(("decoder",), [DECODE], 100),
        (OURS, THEIRS),
        BenchSettings(subject=SUBJECT, **settings),
        FakeWorker(),  # type: ignore[arg-type]
        result,
        lambda _: None,
    )
    group._workers, group._weights = {OURS: ours, THEIRS: theirs}, {OURS: 40, THEIRS: 40}
    group.measure()
    return result


def test_the_first_round_warms_up_and_the_others_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.bench.rounds.PAUSE", 0.0)
    result = turns(FakeWorker(9.0, 1.0, 2.0, 3.0), FakeWorker(9.0, 2.0, 4.0, 6.0), repeat=3)
    ours, theirs = result.measurements
    assert (ours.seconds, theirs.seconds) == ([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (ours.speed, theirs.speed, theirs.reference) == (None, 0.5, "vary int4")
    # 40 bytes in two seconds, of a hundred a second.
    assert ours.share == pytest.approx(0.2)
    assert result.limits == [Limit("read", [100.0] * 3)]


def test_who_is_slow_gets_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.bench.rounds.PAUSE", 0.0)
    # Two steps each: of 30 s a turn takes 12, so there is a warm-up and one more; 80 are too many even so.
    slow = FakeWorker(6.0, 6.0, 6.0, 6.0)
    _, theirs = turns(FakeWorker(*[1.0] * 6), slow, repeat=5, limit=30.0).measurements
    assert theirs.seconds == [6.0]
    assert slow.asked == 2
    _, theirs = turns(FakeWorker(*[1.0] * 6), FakeWorker(40.0), repeat=5, limit=30.0).measurements
    assert theirs.seconds == [40.0]
    assert theirs.speed == pytest.approx(1 / 40)


def test_who_dies_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.bench.rounds.PAUSE", 0.0)
    result = turns(FakeWorker(1.0, 1.0, 1.0), FakeWorker(2.0, None), repeat=2)
    assert [found.label for found in result.measurements] == ["vary int4"]
    assert result.failures == [{"label": "onnxruntime int4", "reason": "decode: gone"}]


def test_an_interrupted_run_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: Any, result: Result, said: Any) -> None:
        result.measurements.append(measured(OURS, DECODE, 0.5))
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_measure", interrupted)
    result = running.run_bench(BenchSettings(subject=SUBJECT, visions=[]))
    assert result.interrupted
    assert "interrupted: the rest was not measured" in as_text(result)
    jsonschema.validate(json.loads(result.dumps()), json_schema())


def test_a_group_that_is_interrupted_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []

    def ask(worker: Worker, *_: Any, **__: Any) -> dict[str, Any]:
        started.append(worker)
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "ask", ask)
    stage, settings = Stage(("decoder",), [DECODE], 100), BenchSettings(subject=SUBJECT)
    limits: Any = FakeWorker()
    with pytest.raises(KeyboardInterrupt), Group(0, stage, [OURS], settings, limits, empty_result(), print):
        pass
    assert not started[0].alive


def test_missing_peers_are_named_with_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = lambda _: {}  # noqa: E731
    for peer in (onnxruntime.OnnxRuntime, openvino.OpenVino, LlamaCpp):
        monkeypatch.setattr(peer, "versions", nothing)
    monkeypatch.setattr("shutil.which", lambda _: None)
    settings = BenchSettings(subject=SUBJECT, against=PEERS)
    found, missing = entrants(settings, shape_config("tiny"))
    lines = {one.label: one.install for one in missing if one.install}
    assert set(lines) == {"onnxruntime", "openvino", "llamacpp", "tesseract"}
    assert all(line.startswith(("pip install '", "apt-get install ")) for line in lines.values())
    assert [one.label for one in found if one.contestant == "transformers"] == [
        "transformers bfloat16",
        "transformers float32",
    ]
    with pytest.raises(MissingDependencyError, match="pip install 'x'"):
        peer_module("vary_no_such_module", "pip install 'x'")
    with pytest.raises(MissingDependencyError, match="apt-get install"):
        Tesseract().read("page.png", "en", 1)


def test_nobody_of_the_peers_is_measured_unasked() -> None:
    found, missing = entrants(BenchSettings(subject=SUBJECT), shape_config("tiny"))
    assert {one.contestant for one in found} == {"vary"}
    assert not [one for one in missing if one.install]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(VaryError, match="did you mean 'openvino'"):
        BenchSettings(subject=SUBJECT, against=["openvion"])


def test_a_worker_answers_fails_and_dies() -> None:
    with Worker.running("a contestant", 1) as worker:
        assert worker.ask("peak", 60)["bytes"] > 1_000_000
        with pytest.raises(WorkerError, match="a contestant: KeyError: 'nothing'"):
            worker.ask("nothing", 60)
        assert worker.alive
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"its process ended \(signal 9"):
            worker.ask("peak", 60)
        assert not worker.alive
    assert not Path(worker._folder).exists()


def test_an_interrupted_worker_is_ended_at_once() -> None:
    workers = []

    def interrupted() -> None:
        with Worker.running("a contestant", 1) as worker:
            workers.append(worker)
            assert Path(worker._folder).is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert workers[0]._process.returncode == -signal.SIGKILL
    assert not Path(workers[0]._folder).exists()


def test_a_worker_that_does_not_answer_is_ended() -> None:
    with Worker.running("a contestant", 1) as worker:
        worker.ask("peak", 60)
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match=r"no answer after 0 s; raise --limit"):
            worker.ask("peak", 0.2)
        assert not worker.alive


def test_the_page_has_its_text(tmp_path: Path) -> None:
    assert paint_page(tmp_path / "page.png") == TEXT
    page = Image.open(tmp_path / "page.png").convert("L")
    dark = page.point(lambda value: 255 * (value < 128)).getbbox()
    assert dark is not None
    assert dark[0] >= 100
    assert dark[2] <= page.width - 40
    assert dark[3] <= page.height - 100


def test_the_machine_is_known() -> None:
    assert peak_memory() > 1_000_000
    assert load_average() is None or load_average() >= 0.0  # type: ignore[operator]
    assert restart_peak() in (True, False)
