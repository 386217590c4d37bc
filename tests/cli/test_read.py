"""`vary read`: what goes to standard output, to standard error and into files, and the exit code."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vary.outputs.document import Block, Document, Line

Run = Callable[..., Any]
Files = Callable[..., list[Path]]
Start = Callable[..., "subprocess.Popen[str]"]


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_text_goes_to_standard_output_and_nothing_else(vary: Run, files: Files) -> None:
    assert vary("read", *files("a.png")) == (0, "文 of a.png 1\n", "")


def test_documents_are_separated_by_a_blank_line(vary: Run, files: Files) -> None:
    ran = vary("read", *files("a.png", "b.pdf"))
    assert ran.out == "文 of a.png 1\n\n文 of b.pdf 1\n\n文 of b.pdf 2\n"


def test_standard_output_is_utf8_whatever_the_locale(
    vary_process: Start, files: Files, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert _finish(vary_process("read", *files("a.png"))) == (0, "文 of a.png 1\n", "")


def test_markdown(vary: Run, files: Files) -> None:
    assert vary("read", *files("a.png"), "--format", "markdown").out == "文 of a.png 1\n"


def test_json_on_standard_output_is_a_document_a_line(vary: Run, files: Files) -> None:
    lines = vary("read", *files("a.png", "b.pdf"), "--format", "json").out.splitlines()
    assert [len(Document.from_json(line).pages) for line in lines] == [1, 2]


@pytest.mark.parametrize(
    ("name", "code"),
    [("ok", 0), ("blank", 0), ("truncated", 1), ("looped", 1), ("low_confidence", 1), ("failed", 1)],
)
def test_the_exit_code_is_0_only_if_every_page_is_ok_or_blank(
    vary: Run, files: Files, name: str, code: int
) -> None:
    [path] = files(f"{name}.png")
    ran = vary("read", path)
    assert ran.code == code
    said = "failed: is odd" if name == "failed" else name
    assert ran.err == (f"vary: {path}: page 1: {said}\n" if code else "")


def test_what_was_read_of_a_bad_page_is_kept(vary: Run, files: Files) -> None:
    assert vary("read", *files("truncated.png")).out == "文 of truncated.png 1\n"


def test_a_file_that_fails_does_not_keep_the_others_from_being_read(
    vary: Run, files: Files, tmp_path: Path
) -> None:
    broken, good = files("broken.png", "good.png")
    missing = tmp_path / "missing.png"
    ran = vary("read", broken, missing, good)
    assert ran.out == "文 of good.png 1\n"
    assert ran.err == f"vary: {broken}: is not an image\nvary: {missing}: no such file\n"
    assert ran.code == 1


def test_a_folder_stands_for_its_files(vary: Run, files: Files, tmp_path: Path) -> None:
    files("a.png", "sub/b.png", "notes.xyz")
    assert vary("read", tmp_path / "in").out == "文 of a.png 1\n\n文 of b.png 1\n"


def test_options_reach_the_reader_and_only_those_that_were_given(
    vary: Run, files: Files, fake_reader: Any
) -> None:
    [path] = files("a.pdf")
    vary("read", path)
    given = ["--task", "ocr", "--prompt", "Read.", "--pages", "1-2,4-", "--dpi", "150", "--batch-size", "8"]
    vary(
        "read",
        path,
        *given,
        "--max-new-tokens",
        "64",
        "--password",
        "x",
        "--device",
        "cpu",
        "--model",
        path.parent,
    )
    assert fake_reader.calls[0] == ("a.pdf", {})
    assert fake_reader.calls[1][1] == {
        "task": "ocr",
        "prompt": "Read.",
        "pages": "1-2,4-",
        "dpi": 150.0,
        "batch_size": 8,
        "max_new_tokens": 64,
        "password": "x",
    }
    assert fake_reader.loaded == [(None, "auto"), (str(path.parent), "cpu")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "xpu"], "device 'xpu' was asked for"),
        (["--device", "gpu"], "expected auto, cpu, cuda"),
        (["--model", "nowhere"], "nowhere: is no folder"),
        (["--task", "dance"], "does not know the task 'dance'; it knows ocr"),
        (["--pages", "3-1"], "runs backwards"),
        (["--pages", "one"], "is not a page or a range"),
        (["--dpi", "0"], "expected a number above 0"),
        (["--batch-size", "0"], "expected a whole number of at least 1"),
        (["--max-new-tokens", "-4"], "expected a whole number of at least 1"),
        (["--format", "pdf"], "invalid choice"),
        (["--form", "text"], "unrecognized arguments"),
    ],
)
def test_what_cannot_start_exits_with_2(vary: Run, files: Files, options: list[str], message: str) -> None:
    ran = vary("read", *files("a.png"), *options)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_a_folder_gets_a_file_per_document(vary: Run, files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out" / "deep"
    assert vary("read", *files("a.png", "b.pdf"), "-o", out) == (0, "", "")
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} == {
        "a.txt": "文 of a.png 1\n",
        "b.txt": "文 of b.pdf 1\n\n文 of b.pdf 2\n",
    }


@pytest.mark.parametrize(("name", "suffix"), [("text", ".txt"), ("markdown", ".md"), ("json", ".json")])
def test_the_format_gives_the_ending(vary: Run, files: Files, tmp_path: Path, name: str, suffix: str) -> None:
    vary("read", *files("a.b.png"), "-o", tmp_path / "out", "--format", name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"a.b{suffix}"]


def test_equal_stems_and_taken_names_are_numbered(vary: Run, files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("mine", encoding="utf-8")
    ran = vary("read", *files("a.png", "a.pdf", "sub/a.png"), "-o", out)
    assert ran.code == 0
    assert {path.name: path.read_text(encoding="utf-8").split(" ")[-2:] for path in out.iterdir()} == {
        "a.txt": ["mine"],
        "a-2.txt": ["a.png", "1\n"],
        "a-3.txt": ["a.pdf", "2\n"],
        "a-4.txt": ["a.png", "1\n"],
    }
    assert f"written to {out / 'a-2.txt'}, because a.txt was there already" in ran.err


@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.json"])
def test_one_file_for_one_document_its_ending_gives_the_format(
    vary: Run, files: Files, tmp_path: Path, name: str
) -> None:
    assert vary("read", *files("a.png"), "-o", tmp_path / name).code == 0
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert (Document.from_json(text).text if name == "x.json" else text.rstrip()) == "文 of a.png 1"


def test_a_format_that_was_asked_for_wins_over_the_ending(vary: Run, files: Files, tmp_path: Path) -> None:
    vary("read", *files("a.png"), "-o", tmp_path / "x.txt", "--format", "json")
    assert json.loads((tmp_path / "x.txt").read_text(encoding="utf-8"))["schema_version"]


def test_one_file_for_several_documents_is_wrong_usage(vary: Run, files: Files, tmp_path: Path) -> None:
    ran = vary("read", *files("a.png", "b.png"), "-o", tmp_path / "x.txt")
    assert ran.code == 2
    assert "is one file for 2 inputs" in ran.err
    assert not (tmp_path / "x.txt").exists()


def test_a_place_that_cannot_be_written_is_said_before_anything_is_read(
    vary: Run, files: Files, tmp_path: Path, fake_reader: Any
) -> None:
    (tmp_path / "file").touch()
    ran = vary("read", *files("a.png"), "-o", tmp_path / "file" / "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"vary: {tmp_path}/file/out: cannot be written (Not a directory); choose another OUT\n"
    assert fake_reader.loaded == []


def test_a_full_disk_keeps_what_was_read(vary_process: Start, files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = vary_process(
        "read",
        *files("a.png", "long.png", "c.png"),
        "-o",
        out,
        # A file may not grow beyond 1,000 bytes: to the program, what a full disk is.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    code, stdout, err = _finish(process)
    assert code == 1
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} == {
        "a.txt": "文 of a.png 1\n"
    }
    assert stdout == "文 of long.png 1\n" + "x" * 5000 + "\n"
    assert "long.png" in err
    assert "cannot be written (File too large)" in err
    assert "files not read: 1" in err


def test_an_interruption_keeps_what_was_written(vary: Run, files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = vary("read", *files("a.png", "interrupt.png", "c.png"), "-o", out)
    assert ran == (130, "", "vary: interrupted\n")
    assert [path.name for path in out.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_reading_exits_with_130_and_no_traceback(
    vary_process: Start, files: Files, how: signal.Signals
) -> None:
    process = vary_process("read", *files("slow.png"))
    assert process.stderr is not None
    assert process.stderr.readline() == "reading\n"
    process.send_signal(how)
    assert _finish(process) == (130, "", "vary: interrupted\n")


def test_a_reader_that_goes_away_is_no_error_worth_a_word(vary_process: Start, files: Files) -> None:
    process = vary_process("read", *files("a.png", "b.png", "c.png"))
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == ""


def test_decoding_options_reach_the_reader(vary: Run, files: Files, fake_reader: Any) -> None:
    options = "--layout mindocr --temperature 0.7 --top-k 5 --top-p 0.9 --repetition-penalty 1.1"
    more = "--no-repeat-ngram-size 4 --num-beams 2 --seed 3"
    assert vary("read", *files("a.png"), *options.split(), *more.split()).code == 0
    assert fake_reader.calls[0][1] == {
        "layout": "mindocr",
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "no_repeat_ngram_size": 4,
        "num_beams": 2,
        "seed": 3,
    }


def test_options_of_drawing_without_drawing_are_refused(vary: Run, files: Files, fake_reader: Any) -> None:
    ran = vary("read", *files("a.png"), "--top-p", "0.9", "--top-k", "4")
    assert (ran.code, ran.out) == (2, "")
    assert "--top-k and --top-p only matter where tokens are drawn" in ran.err
    assert fake_reader.loaded == []


def test_texts_that_begin_with_a_brace_are_parted_too(
    vary: Run, files: Files, fake_reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = fake_reader.read

    def braced(self: Any, source: Path, **options: Any) -> Document:
        page = read(self, source, **options).pages[0]
        return Document(str(source), [replace(page, blocks=[Block([Line("{'title': 1}")])])])

    monkeypatch.setattr(fake_reader, "read", braced)
    assert vary("read", *files("a.png", "b.png")).out == "{'title': 1}\n\n{'title': 1}\n"


def test_an_ending_counts_in_capitals_too(vary: Run, files: Files, tmp_path: Path) -> None:
    vary("read", *files("a.png"), "-o", tmp_path / "A.JSON")
    document = Document.from_json((tmp_path / "A.JSON").read_text(encoding="utf-8"))
    assert document.text == "文 of a.png 1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the draft cannot be read (No such file or directory); give auto, pdf, nano, off or a text"),
        ("", "the draft holds no text"),
        ("\f \n\f", "the draft holds no text"),
        ("one\f" + "x" * 1_000_001, "page 2 of the draft has 1,000,001 characters, and a draft at most 1,0"),
        ("text", "is the text of one document, and 2 are to be read"),
    ],
)
def test_a_draft_that_is_none_is_refused_before_the_model_is_loaded(
    vary: Run, files: Files, tmp_path: Path, fake_reader: Any, content: str | None, message: str
) -> None:
    draft = tmp_path / "draft.txt"
    if content is not None:
        draft.write_text(content, encoding="utf-8")
    ran = vary("read", *files("a.png", "b.png"), "--draft", draft)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert str(draft) in ran.err
    assert message in ran.err
    assert fake_reader.loaded == []


@pytest.mark.parametrize("draft", ["nano", "pdf", "guess.txt"])
@pytest.mark.parametrize("named", ["", "vary-nano", "a folder"])
def test_a_draft_for_a_model_that_reads_lines_is_refused_before_it_is_loaded(
    vary: Run,
    files: Files,
    tmp_path: Path,
    fake_reader: Any,
    tiny_nano_folder: Path,
    draft: str,
    named: str,
) -> None:
    (tmp_path / "guess.txt").write_text("a guess", encoding="utf-8")
    wanted = str(tmp_path / draft) if draft.endswith(".txt") else draft
    model = {"": [], "vary-nano": ["--model", named]}.get(named, ["--model", tiny_nano_folder])
    ran = vary("read", *files("a.png"), *model, "--draft", wanted)
    assert (ran.code, ran.out) == (2, "")
    assert f"--draft {wanted} has no effect with {model[1] if model else 'vary-nano'}, which" in ran.err
    assert fake_reader.loaded == []


@pytest.mark.parametrize("draft", ["auto", "off"])
def test_every_checkpoint_takes_a_draft_that_may_be_none(vary: Run, files: Files, draft: str) -> None:
    assert vary("read", *files("a.png"), "--draft", draft) == (0, "文 of a.png 1\n", "")


def test_a_file_of_drafts_reaches_the_reader_as_pages(
    vary: Run, files: Files, tmp_path: Path, tiny_toy_folder: Path, fake_reader: Any
) -> None:
    draft = tmp_path / "draft.txt"
    draft.write_text("one\ftwo", encoding="utf-8")
    assert vary("read", *files("a.pdf"), "--model", tiny_toy_folder, "--draft", draft).code == 0
    assert fake_reader.calls == [("a.pdf", {"draft": ["one", "two"]})]


def test_beams_that_the_kernels_would_not_follow_are_refused_before_the_model_is_loaded(
    vary: Run, files: Files, native_toy_folder: Path, tiny_toy_folder: Path, fake_reader: Any
) -> None:
    beams = ["--quantize", "int4", "--num-beams", "2", "--device", "cpu"]
    ran = vary("read", *files("a.png"), "--model", native_toy_folder, *beams)
    assert (ran.code, ran.out) == (2, "")
    assert "--num-beams 2 is not for weights of --quantize int4 on a CPU" in ran.err
    assert fake_reader.loaded == []
    # PyTorch computes what the kernels do not, and follows beams.
    assert vary("read", *files("a.png"), "--model", tiny_toy_folder, *beams).code == 0
