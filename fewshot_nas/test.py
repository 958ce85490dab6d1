"""Score the archs of a pool's parts with a trained supernet."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, Report, read_numbers, run, speaker
from fewshot_nas.config import Config
from fewshot_nas.options import (
    add_config_options,
    add_device_option,
    add_executor_options,
    add_phase_option,
    add_save_option,
    config_of,
    training_of,
    uses_ray,
)
from fewshot_nas.records.jsonl import records
from fewshot_nas.results.directories import (
    BESIDE,
    PhaseDirectory,
    evaluation_name,
    journal_path,
    manifest_path,
    remove_part,
)
from fewshot_nas.results.evaluations import read_truth
from fewshot_nas.results.run import SEARCH, phase_directory, phase_of, phases
from fewshot_nas.results.scores import read_manifest
from fewshot_nas.space.pool import pool_sha256, read_pool
from fewshot_nas.space.space import Arch, Space

FEWEST_SAMPLED = 20  # archs; fewer would say nothing about the others
USUAL_SAMPLE = 1_000  # the fewest that lose less than 0.01 of tau to the truth: studies/budget/run.py
PLANNED_IMAGES, PLANNED_CLASSES = 2_500, 1_000  # where there are no images to count: those of the competition

Parts = dict[int, dict[str, Arch]]

if TYPE_CHECKING:
    from fewshot_nas.cluster.evaluation import OnRay
    from fewshot_nas.data.images import Images
    from fewshot_nas.data.sources import ImageData
    from fewshot_nas.distributed import World
    from fewshot_nas.evaluation.inputs import Inputs
    from fewshot_nas.evaluation.prefix_tree import Plan
    from fewshot_nas.evaluation.runner import Job
    from fewshot_nas.evaluation.scorer import Scorer
    from fewshot_nas.models.supernet import Supernet


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate parts of the pool, or show what it would cost."""
    # 1. Options and settings. The numbers are those of the stages in docs/reading.md.
    options = _parser().parse_intermixed_args(argv)
    on_ray = uses_ray(options)
    directory = phase_directory(options.save, phase_of(options.save, options.phase))
    config = config_of(_with_settings(options), directory.config)
    if options.epoch is not None and options.epoch < 0:
        raise InputError(f"--epoch is {options.epoch}, expected 0 or more; it names the directory of the scores")
    if options.limit is not None and options.json_part is None:
        raise InputError("--limit is for --json_part; a sample has the size that --sample says")
    # Imported here, so that `--help` and mistakes in options do not wait for torch.
    from fewshot_nas.data.sources import fixed_part
    from fewshot_nas.distributed import check_equal_on_all_ranks, joined, on_rank0
    from fewshot_nas.evaluation.runner import Job
    from fewshot_nas.models.checkpoint import supernet_of
    from fewshot_nas.scoring import scorer_for

    model = directory.model(options.model_name)
    with ExitStack() as stack:
        # 2. Processes. With Ray the workers compute, and this process needs no GPU.
        world = stack.enter_context(joined("cpu" if on_ray else options.device, config.run))
        report = speaker(world.is_rank0)
        executor = stack.enter_context(_on_ray(options, config)) if on_ray else None
        # 3. The supernet and the images. A plan is made without either: then both are only shapes and counts.
        content = _content(options, directory, model, world)
        supernet = supernet_of(model, content) if content else _future_supernet(options, config)
        data = _images(options, config, model, supernet, world)
        # 4. The scorer.
        scored = fixed_part("--images", data.test if options.test_set else data.valid, options.images)
        scorer = scorer_for(config, model, supernet, data, scored, world, executor, computes=not options.plan)
        if options.arch:
            _score_archs(options, scorer, f"{len(scored)} {'test' if options.test_set else 'ranking'} images", report)
            return 0
        # 5. The archs: parts of the pool, or a sample that is spread over all parts.
        pool = read_pool(config.run.pool_path, supernet.space)
        if options.sample is None and options.json_part is None:
            options.sample = _usual_sample(sum(map(len, pool)), report)
        parts = _parts("all" if options.json_part is None else options.json_part, pool, options.limit)
        epoch = options.epoch if options.epoch is not None else content.get("epoch", 0 if options.plan else None)
        if epoch is None:
            raise InputError(f"{model}: does not tell its epoch, which names the output; give --epoch")
        if options.sample is not None:
            parts = _sample(parts, supernet, options.sample)
        # 6. The job. Its manifest holds all that the scores depend on, so scores of two evaluations are never mixed.
        scores = directory.scores(evaluation_name(epoch, bool(options.test_set), options.sample))
        facts = {
            **({} if options.plan else _manifest(options, config, model, supernet, data, scored)),
            "pool_sha256": pool_sha256(pool, supernet.space),
        }
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
    return 0


def _evaluate(options: argparse.Namespace, job: "Job", scorer: "Scorer", world: "World") -> None:
    """Score a job's archs, or only show the plan."""
    from fewshot_nas.distributed import on_rank0
    from fewshot_nas.evaluation.runner import run_job

    report = speaker(world.is_rank0)
    if not options.plan and on_rank0(world, job.finished):
        report(f"{job.directory}: the scores of part {job.name} are there already")
        return
    plan = scorer.plan(job.archs)
    inputs, memory_mb = scorer.within_memory(plan)
    _show(plan, inputs, memory_mb, report)
    if not options.plan:
        run_job(job, plan, scorer, world)
        report(f"{job.directory}: part {job.name} is scored")


def _on_ray(options: argparse.Namespace, config: Config) -> "OnRay":
    from tqdm import tqdm

    from fewshot_nas.cluster.evaluation import OnRay
    from fewshot_nas.cluster.worker_pool import workers_on

    return OnRay(lambda: workers_on(options.address, options.workers, options.device, config.run, tqdm.write))


def _with_settings(options: argparse.Namespace) -> argparse.Namespace:
    """The options, where those that replace a setting have become overrides."""
    given = {
        "evaluation.calibration_images": options.calibration_images,
        "evaluation.classifier_images": options.classifier_images,
        "run.precision": options.precision,
    }
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    return argparse.Namespace(**{**vars(options), "overrides": [*options.overrides, *overrides]})


def _content(options: argparse.Namespace, directory: PhaseDirectory, model: Path, world: "World") -> dict[Any, Any]:
    """The content of the checkpoint; empty if there is none and only a plan is needed.

    Raises:
        InputError: there is no such checkpoint; names those that exist.
    """
    from fewshot_nas.models.checkpoint import read_checkpoint

    if model.exists():
        return read_checkpoint(model, world.device)
    if options.plan:
        return {}
    names = [path.stem for path in (directory.chosen, *directory.candidates()) if path.exists()]
    finished = [phase.name for phase in phases(options.save)]
    train = f"`{training_of(options, phase_of(options.save, options.phase))}` trains it"
    there = f"finished phases are {', '.join(finished)}; {train}" if finished else train
    raise InputError(f"{model}: no such file; " + (f"the phase has {', '.join(names)}" if names else there))


def _images(
    options: argparse.Namespace, config: Config, model: Path, supernet: "Supernet", world: "World"
) -> "ImageData":
    """The data set, and the first line of the command; a plan does without images."""
    from fewshot_nas.running.images import images_for, opened, planned_images, say_shortages

    report, space = speaker(world.is_rank0), supernet.space
    try:
        data = images_for(config, model, space, supernet.num_classes, supernet.trained_on)
        report(opened(f"run {model.parent}, {model.name}", data, space.name, world))
        say_shortages(config, data, report)
        return data
    except InputError as error:
        if not options.plan:
            raise
        count = options.images or config.data.valid_images or PLANNED_IMAGES
        report(f"{error}; planned without images, for {count:,} of them (--images) and {supernet.num_classes} classes")
        return planned_images(config, space, supernet.num_classes, count)


def _classes(config: Config) -> int:
    """The number of classes of a supernet to be; the usual one if neither settings nor images say it."""
    from fewshot_nas.data.sources import open_data

    try:
        return open_data(config.data.name, config.data.root, num_classes=config.data.num_classes).num_classes
    except InputError:
        return config.data.num_classes or PLANNED_CLASSES


def _future_supernet(options: argparse.Namespace, config: Config) -> "Supernet":
    """Shapes, without weights, of the supernet that a phase by width, or a Cream search, will have."""
    from fewshot_nas.models.blueprint import blueprint
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.space.split import by_width

    phase = phase_of(options.save, options.phase)
    groups = "1" if phase == SEARCH else phase.split
    if not groups.isdigit():
        raise InputError(f"--phase is {options.phase!r}; a plan without a supernet is for splits by width")
    classes = _classes(config)
    return blueprint(lambda: Supernet(by_width(config.space.build(), int(groups)), classes))


def _score_archs(options: argparse.Namespace, scorer: "Scorer", images: str, report: Report) -> None:
    """Print the scores of the archs that `--arch` names; nothing is written."""
    # A path's code has commas of its own, and ends with two brackets.
    codes = re.split(r"(?<=]]),", options.arch) if options.arch.startswith("[") else options.arch.split(",")
    archs = [scorer.supernet.space.decode(code) for code in codes]
    if options.plan:
        plan = scorer.plan(archs)
        _show(plan, *scorer.within_memory(plan), report)
        return
    for code, score in zip(codes, scorer.scores(archs), strict=True):
        found = f"top-1 {score.top1:.2f} %, top-5 {score.top5:.2f} %, mean probability {score.prob:.2f} %"
        report(f"{code}: {found} on {images}")


def _parts(text: str, pool: Sequence[dict[str, Arch]], limit: int | None) -> Parts:
    """The parts that `--json_part` names, each with its first `limit` archs."""
    expected = f"1..{len(pool)}, a list such as 1,{len(pool)}, a range such as 1-{len(pool)}, or all"
    numbers = sorted(read_numbers("--json_part", f"1-{len(pool)}" if text == "all" else text, expected, len(pool)))
    if not 1 <= numbers[0] <= numbers[-1] <= len(pool):
        raise InputError(f"--json_part is {text!r}, expected {expected}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}, expected at least 1")
    return {number: dict(islice(pool[number - 1].items(), limit)) for number in numbers}


def _sample(parts: Parts, supernet: "Supernet", count: int) -> Parts:
    """The archs of each part that belong to a sample of the whole pool."""
    from fewshot_nas.ranking.suggestion import sample

    pool = {arch_id: arch for part in parts.values() for arch_id, arch in part.items()}
    if not FEWEST_SAMPLED <= count <= len(pool):
        raise InputError(f"--sample is {count}, expected {FEWEST_SAMPLED} to the {len(pool)} archs of the pool")
    chosen = sample(supernet.space, pool, count)
    return {number: {arch_id: part[arch_id] for arch_id in part if arch_id in chosen} for number, part in parts.items()}


def _usual_sample(archs: int, report: Report) -> int | None:
    """The size of the sample that is scored where nothing is asked for; None for the whole of a small pool."""
    if archs > USUAL_SAMPLE:
        return USUAL_SAMPLE
    report(f"the pool has {archs} archs; all of them are scored")
    return None


def _truth_beside(
    path: Path, pool: Sequence[dict[str, Arch]], scored: Parts, there: Iterable[dict[str, Arch]], space: Space
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


def _forget_another_truth(job: "Job") -> None:
    """Remove the scores beside a sample, and what an interrupted run noted of them, if they are another truth's."""
    manifest = manifest_path(job.directory, BESIDE)
    heads = [read_manifest(manifest)] if manifest.exists() else []
    heads += [head.get("manifest", {}) for head in islice(records(journal_path(job.directory, job.name)), 1)]
    if any(head.get("beside") != job.manifest["beside"] for head in heads):
        remove_part(job.directory, BESIDE)


def _manifest(
    options: argparse.Namespace, config: Config, model: Path, supernet: "Supernet", data: "ImageData", scored: "Images"
) -> dict[str, Any]:
    """Everything that the scores depend on."""
    from fewshot_nas.scoring import scoring_facts

    return {
        **scoring_facts(config, options.save, model, supernet, data, scored),
        "split": "test" if options.test_set else "valid",
        "limit": options.limit,
        **({} if options.sample is None else {"sample": options.sample}),
    }


def _show(plan: "Plan", inputs: "Inputs", memory_mb: float, report: Report) -> None:
    images, units = inputs.count, len(plan.units)
    report(
        f"{plan.archs} archs, {plan.networks} distinct networks, {units} work unit{'s' * (units > 1)};"
        f" {plan.macs * images:.3g} MACs on {images} images instead of {plan.plain_macs * images:.3g}"
        f" ({100 * plan.macs / plan.plain_macs:.1f} %); {inputs.batch} images at a time, about {memory_mb:.0f} MB"
    )


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.test", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json_part", metavar="PART", help="1 to 8, a list such as 1,3, a range such as 1-8, or all")
    what.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="N archs of all parts, spread well, and the ground truth's; others are filled in later (default: "
        f"{USUAL_SAMPLE:,}, or all archs if the pool has no more)",
    )
    what.add_argument("--arch", metavar="CODE", help="only print the scores of one arch, or of several: CODE,CODE")
    add_save_option(parser)
    add_phase_option(parser)
    parser.add_argument(
        "--model_name", default="supernet", help="checkpoint in the phase's directory (default supernet)"
    )
    parser.add_argument("--epoch", type=int, help="names the output (default: the epoch that the checkpoint tells)")
    parser.add_argument(
        "--test_set", type=int, choices=(0, 1), default=0, help="1: the test images; 0: those to rank on (default)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N archs of each part (not of a sample)")
    parser.add_argument("--images", type=int, metavar="N", help="score on a fixed part of N images")
    parser.add_argument("--calibration_images", type=int, metavar="N", help="replaces evaluation.calibration_images")
    parser.add_argument(
        "--classifier_images",
        type=int,
        metavar="N",
        help="replaces evaluation.classifier_images (0: the supernet's classifier)",
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="replaces run.precision")
    add_device_option(parser)
    parser.add_argument(
        "--plan", action="store_true", help="only show what would be computed; needs neither supernet nor images"
    )
    add_executor_options(parser)
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
