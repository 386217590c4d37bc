"""A benchmark from beginning to end: contestants in processes of their own, measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vary.bench.contestants.protocol import DTYPES
from vary.bench.contestants.registry import CONTESTANTS
from vary.bench.machine import available_memory, load_average, machine_facts
from vary.bench.memory import measure_memory
from vary.bench.orders import model_config
from vary.bench.phases import MARGIN
from vary.bench.processes import Worker, WorkerError
from vary.bench.reading import ErrorRate, PageTruth, read_in_turns
from vary.bench.result import Limit, Result
from vary.bench.rounds import Case, Group, Stage
from vary.bench.settings import BenchSettings, Entrant, Missing, entrants
from vary.bench.shapes import DecoderSize, encode_flops
from vary.bench.weights import state_shapes
from vary.errors import VaryError
from vary.model.configuration import VaryConfig

__all__ = ["run_bench"]

SAID = Callable[[str], None]
SPARE = 0.85
"""Of the memory that is free, this share is planned for."""
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run works out once."""

    settings: BenchSettings
    config: VaryConfig
    size: DecoderSize
    encoder_weights: int
    entrants: Sequence[Entrant]


def run_bench(
    settings: BenchSettings,
    *,
    page: PageTruth | None = None,
    error_rate: ErrorRate | None = None,
    said: SAID = lambda _: None,
) -> Result:
    """Measures everything that the settings ask for; an interrupted run gives what was measured until then.

    Args:
        settings: what and whom.
        page: an image with its text, for programs that read pages; None paints one.
        error_rate: (reading, truth, language) to the character error rate.
        said: hears what is being done.

    Raises:
        CheckpointError: if the model is not there.
        VaryError: if nobody is left to be measured.
    """
    config = model_config(settings.subject.shape, settings.subject.checkpoint)
    size = DecoderSize.of(config)
    found, missing = entrants(settings, config)
    shapes = state_shapes(config)
    whole = {name: int(torch.Size(shape).numel()) for name, shape in shapes.items()}
    vision = sum(
        count for name, count in whole.items() if "language_model" not in name and "lm_head" not in name
    )
    plan = _Plan(settings, config, size, vision, found)
    result = _empty_result(plan, missing, sum(whole.values()))
    if not found:
        raise VaryError(f"nobody can be measured: {'; '.join(one.reason for one in missing)}")
    try:
        _measure(plan, result, said)
        if "page" in settings.phases and "tesseract" in settings.against:
            read_in_turns(settings, result, page, error_rate, said)
    except KeyboardInterrupt:
        result.interrupted = True
    result.load_average.append(load_average())
    return result


def _measure(plan: _Plan, result: Result, said: SAID) -> None:
    """Limits, then the phases of everyone who holds the model."""
    subject = plan.settings.subject
    with Worker.running("limits", subject.threads) as limits:
        limits.ask("limits", LIMIT_SECONDS, device=subject.device, threads=subject.threads)
        _first_limits(limits, plan, result, said)
        for stage in _stages(plan):
            _run_stage(stage, plan, limits, result, said)
    if "memory" in plan.settings.phases:
        measure_memory([one for one in plan.entrants if one.decoder], plan.settings, result, said)


def _empty_result(plan: _Plan, missing: Sequence[Missing], parameters: int) -> Result:
    settings, size = plan.settings, plan.size
    model = {
        "name": settings.subject.name,
        "parameters": parameters,
        "read_per_token": size.read_per_token,
        "encode_flops": encode_flops(plan.config),
        "prefill_flops": size.flops(settings.prompt),
        "decoder": asdict(size),
    }
    versions = {
        name: CONTESTANTS[name].versions() for name in {entrant.contestant for entrant in plan.entrants}
    }
    return Result(
        machine=machine_facts(torch.device(settings.subject.device), settings.subject.threads),
        model=model,
        settings={**asdict(settings), "subject": asdict(settings.subject)},
        versions=dict(sorted(versions.items())),
        load_average=[load_average()],
        missing=[asdict(one) for one in missing],
    )


def _stages(plan: _Plan) -> list[Stage]:
    """The phases that were asked for, in their order, with their cases."""
    settings = plan.settings
    stages = []
    if "encode" in settings.phases:
        cases = [Case("encode", {"images": images}, images, "pages") for images in settings.images]
        stages.append(Stage(("encoder",), cases, max(settings.images) * 300))
    decoding = []
    if "prefill" in settings.phases:
        decoding.append(Case("prefill", {"tokens": settings.prompt}, settings.prompt, "tokens"))
    most = 1
    if "decode" in settings.phases:
        for sequences, tokens in [
            (1, 1),
            *((1, t) for t in settings.verify),
            *((s, 1) for s in settings.sequences),
        ]:
            steps = max(2, min(settings.steps, MARGIN // 2) // tokens)
            values = {"context": settings.prompt, "sequences": sequences, "tokens": tokens, "steps": steps}
            decoding.append(Case("decode", values, sequences * tokens, "tokens"))
            most = max(most, sequences)
    if decoding:
        stages.append(Stage(("decoder",), decoding, most * (settings.prompt + MARGIN)))
    reading, held = [], 1
    whole = {"prompt": settings.prompt, "tokens": settings.answer}
    if "page" in settings.phases:
        reading.append(Case("page", whole, 1, "pages"))
    if "pages" in settings.phases:
        held = settings.pages
        reading.append(Case("pages", {"pages": held, **whole}, held, "pages"))
    if reading:
        stages.append(Stage(("encoder", "decoder"), reading, held * (settings.prompt + settings.answer)))
    return stages


def _run_stage(stage: Stage, plan: _Plan, limits: Worker, result: Result, said: SAID) -> None:
    """A stage's cases for everyone who has its parts, group by group."""
    able = [entrant for entrant in plan.entrants if all(getattr(entrant, part) for part in stage.parts)]
    able = _distinct(able, stage)
    if stage.cases[0].phase == "page":
        able = [entrant for entrant in able if not _too_long(entrant, stage.cases[0], plan.settings, result)]
    groups = _groups(able, stage, plan)
    for number, members in enumerate(groups):
        said(f"{stage.title}: {', '.join(entrant.label for entrant in members)}")
        group = Group(number, stage, members, plan.settings, limits, result, said)
        with group:
            group.measure()


def _distinct(able: Sequence[Entrant], stage: Stage) -> list[Entrant]:
    """In a stage of encoders alone, a contestant's precision of the encoder stands for all."""
    if "decoder" in stage.parts:
        return list(able)
    first: dict[tuple[str, str], Entrant] = {}
    for entrant in able:
        label = CONTESTANTS[entrant.contestant].label(entrant.encoder)
        only = Entrant(entrant.contestant, label, entrant.encoder, "")
        first.setdefault((entrant.contestant, entrant.encoder), only)
    return list(first.values())


def _groups(able: Sequence[Entrant], stage: Stage, plan: _Plan) -> list[list[Entrant]]:
    """Who is alive at a time: as many as memory holds, the first one always, whom all are compared with."""
    if not able:
        return []
    free = available_memory()
    if plan.settings.subject.device != "cpu":
        device = torch.device(plan.settings.subject.device)
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    room = float("inf") if free is None else SPARE * free

    def need(entrant: Entrant) -> int:
        return entrant.memory(plan.size, plan.encoder_weights, stage.tokens, stage.parts)

    first, *others = able
    groups, left = [[first]], room - need(first)
    for entrant in others:
        if need(entrant) > left and len(groups[-1]) > 1:
            groups.append([first])
            left = room - need(first)
        groups[-1].append(entrant)
        left -= need(entrant)
    return groups


def _too_long(entrant: Entrant, case: Case, settings: BenchSettings, result: Result) -> bool:
    """Whether a page is only added up from its phases, because it would take longer than the limit."""
    label = entrant.label
    encoder = CONTESTANTS[entrant.contestant].label(entrant.encoder)
    parts = [
        next((m.median / m.work for m in result.find("encode", images=1) if m.label == encoder), None),
        next((m.median for m in result.find("prefill") if m.label == label), None),
        next((m.median for m in result.find("decode", sequences=1, tokens=1) if m.label == label), None),
    ]
    if any(part is None for part in parts):
        return False
    encode, prefill, step = (float(part or 0.0) for part in parts)
    seconds = encode + prefill + settings.answer * step
    if seconds <= settings.limit:
        return False
    result.measurements.append(case.added_up(entrant, seconds))
    return True


def _first_limits(limits: Worker, plan: _Plan, result: Result, said: SAID) -> None:
    """Memory and matrix products of every float type that is asked for."""
    said("limits of the machine")
    wanted = dict.fromkeys(("float32", *(e.encoder for e in plan.entrants if e.encoder in DTYPES)))
    kinds: dict[str, Mapping[str, Any]] = {"read": {}, "copy": {}}
    kinds |= {f"multiply {dtype}": {"dtype": dtype} for dtype in wanted}
    for name, options in kinds.items():
        try:
            for _ in range(2):  # the first one warms up
                value = limits.ask("limit", LIMIT_SECONDS, name=name.split(" ")[0], **options)
        except WorkerError as error:
            said(str(error))
            continue
        result.limits.append(Limit(name, [float(value["per_second"])]))
