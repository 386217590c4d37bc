"""The result as text for people: a table for every phase, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from vary.bench.result import Measurement, Result

__all__ = ["as_text", "comparisons"]

Row = Sequence[str]


def as_text(result: Result) -> str:
    """Everything in the order in which it was measured, wide tables under 110 characters."""
    blocks = [
        _head(result),
        _encode(result),
        _prefill(result),
        _decode(result),
        _page(result),
        _pages(result),
        _memory(result),
        _readings(result),
        _list("in short", comparisons(result)),
        _list("not measured", [_absence(one) for one in result.missing]),
        "interrupted: the rest was not measured" if result.interrupted else "",
        _list("failed", [f"{one['label']}: {one['reason']}" for one in result.failures]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def comparisons(result: Result) -> list[str]:
    """Sentences: how vary's fastest stands beside each peer's fastest, and beside the limits."""
    said = []
    for phase, verb in (
        ("encode", "encodes"),
        ("prefill", "reads a prompt"),
        ("decode", "decodes"),
        ("page", "reads a page"),
        ("pages", "reads many pages"),
    ):
        found = [one for one in result.find(phase) if _plain(one) and one.seconds]
        ours = [one for one in found if one.contestant == "vary"]
        if not ours:
            continue
        best = max(ours, key=lambda one: one.rate)
        for name in dict.fromkeys(one.contestant for one in found if one.contestant != "vary"):
            for one in [one for one in found if one.contestant == name]:
                times = best.rate / one.rate
                how = "" if best.measured and one.measured else " (added up from phases)"
                said.append(f"{best.label} {verb} {times:.2f} times as fast as {one.label}{how}")
        if phase == "decode" and best.share is not None:
            said.append(f"{best.label} streams its weights at {best.share:.0%} of what memory gives")
    return said + _reading_comparison(result)


def _plain(one: Measurement) -> bool:
    """One page, one sequence, one token a step."""
    return all(one.case.get(name, 1) == 1 for name in ("images", "sequences")) and (
        one.phase != "decode" or one.case["tokens"] == 1
    )


def _reading_comparison(result: Result) -> list[str]:
    by_label = {reading.label: reading.median for reading in result.readings}
    theirs = by_label.get("tesseract, from process start")
    if theirs is None:
        return []
    return [
        f"{label} takes {seconds / theirs:.2f} times as long as Tesseract for the same page"
        for label, seconds in by_label.items()
        if label.startswith("vary")
    ]


def _head(result: Result) -> str:
    machine, model = result.machine, result.model
    memory = machine["memory_bytes"]
    device = "" if machine["device"] == "cpu" else f"; {machine['device']}: {machine['device_name']}"
    loads = " before, ".join("unknown" if load is None else f"{load}" for load in result.load_average)
    packages = {name: version for found in result.versions.values() for name, version in found.items()}
    limits = [_limit_text(limit.name, limit.value) for limit in result.limits]
    lines = [
        f"{model['name']}: {model['parameters']:,} parameters, {model['read_per_token']:,} read for a token",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
        + ("" if memory is None else f", {memory / 2**30:.1f} GiB")
        + device,
        f"load average {loads} after" if len(result.load_average) > 1 else f"load average {loads}",
        f"vary {machine['vary']}" + (f" at {machine['commit']}" if machine["commit"] else ""),
        ", ".join(f"{name} {version}" for name, version in packages.items() if name != "vary-toy"),
        f"limits measured here: {', '.join(limits)}",
    ]
    return "\n".join(lines)


def _limit_text(name: str, value: float) -> str:
    kind, _, dtype = name.partition(" ")
    if dtype:
        return f"{dtype} products {value / 1e9:,.1f} GFLOP/s"
    return f"memory {kind} {value / 1e9:.1f} GB/s"


def _encode(result: Result) -> str:
    blocks = []
    for images in sorted({one.case["images"] for one in result.find("encode")}):
        title = "encode an image" if images == 1 else f"encode {images} images at once"
        rows = [
            [
                one.label,
                _seconds(one.median / images),
                f"{one.rate:.3f}",
                _speed(one),
                _share(one),
                _count(one),
            ]
            for one in result.find("encode", images=images)
        ]
        blocks.append(_table([title, "s an image", "images/s", "speed", "of limit", "runs"], rows))
    return "\n\n".join(blocks)


def _prefill(result: Result) -> str:
    found = result.find("prefill")
    if not found:
        return ""
    rows = [
        [one.label, _seconds(one.median), f"{one.rate:.0f}", _speed(one), _share(one), _count(one)]
        for one in found
    ]
    title = f"prefill, {found[0].case['tokens']} tokens"
    return _table([title, "seconds", "tokens/s", "speed", "of limit", "runs"], rows)


def _decode(result: Result) -> str:
    found = result.find("decode")
    if not found:
        return ""
    cases = list(dict.fromkeys((one.case["sequences"], one.case["tokens"]) for one in found))
    heads: list[str] = [f"decode at {found[0].case['context']}"]
    for sequences, tokens in cases:
        if (sequences, tokens) == (1, 1):
            heads += ["tokens/s", "speed", "of read"]
        else:
            heads.append(f"{tokens} a step" if sequences == 1 else f"{sequences} seqs")
    rows = []
    for label in dict.fromkeys(one.label for one in found):
        own = {(one.case["sequences"], one.case["tokens"]): one for one in found if one.label == label}
        base, row = own.get((1, 1)), [label]
        for case in cases:
            one = own.get(case)
            if case == (1, 1):
                row += ["-"] * 3 if one is None else [f"{one.rate:.2f}", _speed(one), _share(one)]
            elif one is None:
                row.append("-")
            elif case[0] == 1:  # a step of several tokens: how much longer than one of one
                longer = f" ({one.median / base.median:.2f}x)" if base is not None and base.median else ""
                row.append(f"{1000 * one.median:.0f} ms{longer}")
            else:
                row.append(f"{one.rate:.1f}/s")
        rows.append(row)
    return _table(heads, rows)


def _page(result: Result) -> str:
    found = result.find("page")
    if not found:
        return ""
    rows = [
        [
            one.label,
            ("" if one.measured else "about ") + _seconds(one.median),
            f"{one.rate:.4f}",
            _speed(one),
            _count(one) if one.measured else "added up",
        ]
        for one in found
    ]
    case = found[0].case
    title = f"page: encode, {case['prompt']}, {case['tokens']} tokens"
    return _table([title, "seconds", "pages/s", "speed", "runs"], rows)


def _pages(result: Result) -> str:
    found = result.find("pages")
    if not found:
        return ""
    case = found[0].case
    rows = [
        [
            one.label,
            _seconds(one.median),
            f"{one.rate:.3f}",
            f"{one.rate * case['tokens']:.0f}",
            _speed(one),
            _count(one),
        ]
        for one in found
    ]
    title = f"{case['pages']} pages at once, {case['tokens']} tokens each"
    return _table([title, "seconds", "pages/s", "tokens/s", "speed", "runs"], rows)


def _memory(result: Result) -> str:
    found = result.find("memory")
    if not found:
        return ""
    rows = [
        [
            one.label,
            _bytes(one.bytes),
            _bytes(one.loading_bytes),
            _bytes(one.device_bytes),
            "with vision" if one.case["encoder"] else "decoder only",
        ]
        for one in found
    ]
    return _table(["peak memory", "at work", "loading", "device", ""], rows)


def _readings(result: Result) -> str:
    rows = [
        [
            one.label,
            _seconds(one.median),
            "-" if one.character_error_rate is None else f"{one.character_error_rate:.2%}",
            f"{one.characters}",
            f"{len(one.seconds)}",
        ]
        for one in result.readings
    ]
    return _table(["the same page as an image", "seconds", "CER", "characters", "runs"], rows) if rows else ""


def _absence(one: dict[str, str]) -> str:
    return f"{one['label']}: {one['reason']}" + (f"; {one['install']}" if one["install"] else "")


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _table(heads: Row, rows: Iterable[Row]) -> str:
    """Columns, the first one to the left, the others to the right."""
    rows = list(rows)
    widths = [max(len(row[at]) for row in chain([heads], rows)) for at in range(len(heads))]
    widths[0] = max(widths[0], 30)

    def line(row: Row) -> str:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _speed(one: Measurement) -> str:
    return "1" if one.speed is None else f"{one.speed:.2f}x"


def _share(one: Measurement) -> str:
    return "-" if one.share is None else f"{one.share:.0%}"


def _count(one: Measurement) -> str:
    return f"{len(one.seconds)}"


def _bytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e9:.2f} GB"
