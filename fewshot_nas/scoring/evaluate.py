"""What the command `test` does: a pool's archs get scores of a supernet, or the scores of some archs are printed."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Report, read_numbers, speaker
from fewshot_nas.config import Config
from fewshot_nas.data.sources import ImageData, fixed_part, open_data
from fewshot_nas.distributed import World, check_equal_on_all_ranks, joined, on_rank0
from fewshot_nas.evaluation.prefix_tree import Plan
from fewshot_nas.evaluation.runner import Job, run_job
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import read_checkpoint, supernet_of
from fewshot_nas.models.subnet import blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.features import sample
from fewshot_nas.records.journal import records
from fewshot_nas.results.directories import (
    BESIDE,
    PhaseDirectory,
    evaluation_name,
    journal_path,
    manifest_path,
    remove_part,
)
from fewshot_nas.results.evaluations import read_truth
from fewshot_nas.results.run import SEARCH, Phase, phase_directory, phase_of, phases, stored_settings
from fewshot_nas.results.scores import read_manifest
from fewshot_nas.running.images import (
    PLANNED_CLASSES,
    SCORED_AT_ONCE_ON_GPU,
    images_for,
    opened,
    planned_images,
    say_shortage,
)
from fewshot_nas.running.options import config_of, training_of, uses_ray
from fewshot_nas.scoring.scorer import scorer_for, scoring_facts
from fewshot_nas.space.pool import pool_sha256, read_pool
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import by_width

if TYPE_CHECKING:
    from fewshot_nas.cluster.work import OnRay

FEWEST_SAMPLED = 20  # archs; fewer would say nothing about the others
DEFAULT_SAMPLE = 1_000  # the fewest that lose less than 0.01 of tau to the truth: studies/budget/run.py

Pool = Sequence[Mapping[str, Arch]]  # its parts
Parts = Mapping[int, Mapping[str, Arch]]


def evaluate(options: argparse.Namespace) -> Path | None:
    """Evaluate parts of the pool, or show what it would cost.

    Returns:
        The directory of the evaluation; None if none was made.
    """
    # 1. Options and settings. The numbers are those of the stages in docs/reading.md.
    _check(options)
    on_ray, phase = uses_ray(options), phase_of(options.save, options.phase)
    directory = phase_directory(options.save, phase)
    # A phase that is only planned has no settings yet, but its run may have.
    stored = directory.config if directory.config.exists() else stored_settings(options.save) or directory.config
    config = config_of(_with_settings(options), stored)
    model = directory.model(options.model_name)
    with ExitStack() as stack:
        # 2. Processes. With Ray the workers compute, and this process needs no GPU.
        world = stack.enter_context(joined("cpu" if on_ray else options.device, config.run))
        report = speaker(world.is_rank0)
        executor = stack.enter_context(_on_ray(options, config)) if on_ray else None
        # 3. The supernet and the images. A plan is made without either: then both are only shapes and counts.
        content = _content(options, directory, phase, model)
        known_epoch = content.get("epoch", 0 if options.plan else None)
        supernet = supernet_of(model, content) if content else _future_supernet(options, phase, config)
        del content  # a second copy of all weights
        supernet = supernet if options.plan else supernet.to(world.device)
        data = _images(options, config, model, supernet, world)
        # 4. The scorer.
        scored = fixed_part("--images", data.test if options.test_set else data.valid, options.images)
        scorer = scorer_for(config, model, supernet, data, scored, world, executor, computes=not options.plan)
        if options.arch:
            _score_archs(options, scorer, f"{len(scored)} {'test' if options.test_set else 'ranking'} images", report)
            return None
        # 5. The archs: parts of the pool, or a sample that is spread over all parts.
        pool = read_pool(config.run.pool_path, supernet.space)
        parts = _chosen(options, pool, supernet.space, report)
        epoch = known_epoch if options.epoch is None else options.epoch
        if epoch is None:
            raise InputError(f"{model}: does not tell its epoch, which names the output; give --epoch")
        # 6. The job. Its manifest holds all that the scores depend on, so scores of two evaluations are never mixed.
        scores = directory.scores(evaluation_name(epoch, bool(options.test_set), options.sample))
        facts: dict[str, Any] = {}
        if not options.plan:
            facts |= scoring_facts(config, options.save, model, supernet, data, scored)
            facts |= {"split": "test" if options.test_set else "valid", "limit": options.limit}
            facts |= {} if options.sample is None else {"sample": options.sample}
        facts |= {"pool_sha256": pool_sha256(pool, supernet.space)}
        # 7 and 8. Plan, compute, write.
        _evaluate(options, Job(scores, parts, check_equal_on_all_ranks(facts, world)), scorer, world)
        if options.json_part is None or 1 in parts:
            # Tau needs scores of the truth's archs, and a sample has few of them by chance. They are a job of their
            # own, because the truth may grow while the sample stays. Of whole parts, the first has those beside it that
            # no part has.
            there = parts.values() if options.json_part is None else pool
            beside = _truth_beside(config.truth_path(options.save), pool, parts, there, supernet.space)
            job = Job(scores, {BESIDE: beside}, check_equal_on_all_ranks({**facts, "beside": list(beside)}, world))
            if beside:
                report(f"the {len(beside)} archs of the ground truth that are not among them:")
                if not options.plan:
                    on_rank0(world, lambda: _forget_another_truth(job))
                _evaluate(options, job, scorer, world)
        return None if options.plan else scores


def _check(options: argparse.Namespace) -> None:
    if options.epoch is not None and options.epoch < 0:
        raise InputError(f"--epoch is {options.epoch}, expected 0 or more; it names the directory of the scores")
    if options.limit is not None and options.json_part is None:
        raise InputError("--limit is for --json_part; a sample has the size that --sample says")


def _evaluate(options: argparse.Namespace, job: Job, scorer: Scorer, world: World) -> None:
    """Score a job's archs, or only show the plan."""
    report = speaker(world.is_rank0)
    if not options.plan and on_rank0(world, job.finished):
        report(f"{job.directory}: the scores of part {job.name} are there already")
        return
    plan = scorer.plan(job.archs)
    _show(plan, scorer, report)
    if not options.plan:
        run_job(job, plan, scorer, world)
        report(f"{job.directory}: part {job.name} is scored")


def _on_ray(options: argparse.Namespace, config: Config) -> "OnRay":
    from fewshot_nas.cluster.pool import workers_on
    from fewshot_nas.cluster.work import OnRay  # these need Ray

    settings = config.evaluation
    return OnRay(
        lambda: workers_on(options.address, options.workers, options.device, config.run, tqdm.write),
        settings.memory_mb,
        settings.batch_size or SCORED_AT_ONCE_ON_GPU,
    )


def _with_settings(options: argparse.Namespace) -> argparse.Namespace:
    """The options, where those that replace a setting have become overrides."""
    given = {
        "evaluation.calibration_images": options.calibration_images,
        "run.precision": options.precision,
    }
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    return argparse.Namespace(**{**vars(options), "overrides": [*options.overrides, *overrides]})


def _content(options: argparse.Namespace, directory: PhaseDirectory, phase: Phase, model: Path) -> dict[Any, Any]:
    """The content of the checkpoint; empty if there is none and only a plan is needed."""
    if model.exists():
        return read_checkpoint(model)
    if options.plan:
        return {}
    names = [path.stem for path in (directory.chosen, *directory.candidates()) if path.exists()]
    finished = ", ".join(each.name for each in phases(options.save))
    train = f"`{training_of(options, phase)}` trains it"
    there = f"finished phases are {finished}; {train}" if finished else train
    raise InputError(f"{model}: no such file; " + (f"the phase has {', '.join(names)}" if names else there))


def _future_supernet(options: argparse.Namespace, phase: Phase, config: Config) -> Supernet:
    """Shapes, without weights, of the supernet that a phase by width, or a Cream search, will have."""
    groups = "1" if phase == SEARCH else phase.split
    if not groups.isdigit():
        raise InputError(f"--phase is {options.phase!r}; a plan without a supernet is for splits by width")
    try:
        data = config.data
        classes = open_data(data.name, data.root, num_classes=data.num_classes).num_classes
    except InputError:
        classes = config.data.num_classes or PLANNED_CLASSES
    return blueprint(lambda: Supernet(by_width(config.space.build(), int(groups)), classes))


def _images(options: argparse.Namespace, config: Config, model: Path, supernet: Supernet, world: World) -> ImageData:
    """The data set, and the first line of the command; a plan does without images."""
    report, space = speaker(world.is_rank0), supernet.space
    try:
        data = images_for(config, model, space, supernet.num_classes, supernet.trained_on)
    except InputError as error:
        if not options.plan:
            raise
        data = planned_images(config, space, supernet.num_classes)
        count, kind = (len(data.test), "test") if options.test_set else (len(data.valid), "ranking")
        there = f"{options.images or count:,} {kind} images (--images says how many)"
        report(f"{error}; planned without images, for {there} and {supernet.num_classes:,} classes")
        return data
    report(opened(f"run {model.parent}, {model.name}", data, space.name, world))
    say_shortage(config, data, report)
    return data


def _score_archs(options: argparse.Namespace, scorer: Scorer, images: str, report: Report) -> None:
    """Print the scores of the archs that `--arch` names; nothing is written."""
    # A path's code has commas of its own, and ends with two brackets.
    codes = re.split(r"(?<=]]),", options.arch) if options.arch.startswith("[") else options.arch.split(",")
    archs = [scorer.supernet.space.decode(code) for code in codes]
    if options.plan:
        _show(scorer.plan(archs), scorer, report)
        return
    for code, score in zip(codes, scorer.scores(archs), strict=True):
        found = f"top-1 {score.top1:.2f} %, top-5 {score.top5:.2f} %, "
        found += f"mean probability {score.prob:.2f} %, likelihood {score.likelihood:.2f} %"
        report(f"{code}: {found} on {images}")


def _chosen(options: argparse.Namespace, pool: Pool, space: Space, report: Report) -> Parts:
    """The archs that the options ask for, by part; where they ask for none, a sample of a large pool."""
    if options.json_part is not None:
        return _parts(options.json_part, pool, options.limit)
    archs = sum(map(len, pool))
    if options.sample is None and archs > DEFAULT_SAMPLE:
        options.sample = DEFAULT_SAMPLE
    elif options.sample is None:
        report(f"the pool has {archs} archs; all of them are scored")
    parts = _parts("all", pool, None)
    return parts if options.sample is None else _sample(parts, space, options.sample)


def _parts(text: str, pool: Pool, limit: int | None) -> Parts:
    """The parts that `--json_part` names, each with its first `limit` archs."""
    expected = f"1..{len(pool)}, a list such as 1,{len(pool)}, a range such as 1-{len(pool)}, or all"
    numbers = sorted(read_numbers("--json_part", f"1-{len(pool)}" if text == "all" else text, expected, len(pool)))
    if not 1 <= numbers[0] <= numbers[-1] <= len(pool):
        raise InputError(f"--json_part is {text!r}, expected {expected}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}, expected at least 1")
    return {number: dict(islice(pool[number - 1].items(), limit)) for number in numbers}


def _sample(parts: Parts, space: Space, count: int) -> Parts:
    """The archs of each part that belong to a sample of the whole pool."""
    pool = {arch_id: arch for part in parts.values() for arch_id, arch in part.items()}
    if not FEWEST_SAMPLED <= count <= len(pool):
        raise InputError(f"--sample is {count}, expected {FEWEST_SAMPLED} to the {len(pool)} archs of the pool")
    chosen = sample(space, pool, count)
    return {number: {arch_id: part[arch_id] for arch_id in part if arch_id in chosen} for number, part in parts.items()}


def _truth_beside(
    path: Path, pool: Pool, scored: Parts, there: Iterable[Mapping[str, Arch]], space: Space
) -> dict[str, Arch]:
    """The archs of the ground truth that are scored beside others: an even share, at most a quarter of those.

    Args:
        there: archs that are left out, because they are scored anyway.
    """
    codes = {arch_id: space.encode(arch) for part in pool for arch_id, arch in part.items()}
    truth = {arch_id: entry.arch for arch_id, entry in read_truth(path, codes, space).items()}
    most, ids = max(1, sum(map(len, scored.values())) // 4), list(truth)
    if len(ids) > most:
        ids = [ids[len(ids) * number // most] for number in range(most)]
    left_out = set().union(*there)
    return {arch_id: truth[arch_id] for arch_id in ids if arch_id not in left_out}


def _forget_another_truth(job: Job) -> None:
    """Remove the scores beside a sample, and what an interrupted run noted of them, if they are another truth's."""
    manifest = manifest_path(job.directory, BESIDE)
    heads = [read_manifest(manifest)] if manifest.exists() else []
    heads += [head.get("manifest", {}) for head in islice(records(journal_path(job.directory, job.name)), 1)]
    if any(head.get("beside") != job.manifest["beside"] for head in heads):
        remove_part(job.directory, BESIDE)


def _show(plan: Plan, scorer: Scorer, report: Report) -> None:
    inputs, memory_mb = scorer.within_memory(plan)
    images, units = inputs.count, len(plan.units)
    sides, both = (2, ", each by both sides,") if scorer.supernet.two_sided else (1, "")
    report(
        f"{plan.archs} archs, {plan.networks} distinct networks, {units} work unit{'s' * (units > 1)};"
        f" {sides * plan.macs * images:.3g} MACs on {images} images{both} instead of"
        f" {sides * plan.plain_macs * images:.3g}"
        f" ({100 * plan.macs / plan.plain_macs:.1f} %); {inputs.batch} images at a time, about {memory_mb:.0f} MB"
    )
