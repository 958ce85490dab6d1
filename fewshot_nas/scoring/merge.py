"""What the command `merge` does: one file per score from the parts of an evaluation, beside the ground truth."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import as_list, read_numbers
from fewshot_nas.config import Config
from fewshot_nas.ranking.correlation import FEWEST, TELLING, correlate, correlation_table, proxies
from fewshot_nas.ranking.judgement import judgement_text
from fewshot_nas.results.directories import (
    BESIDE,
    is_evaluation_name,
    manifest_path,
    merged_path,
    parts_with_scores,
    shard_path,
)
from fewshot_nas.results.evaluations import merged_by, no_better, read_truth
from fewshot_nas.results.merging import CodesById, IncompleteError, merge_parts, read_codes, write_merged
from fewshot_nas.results.run import Phase, first_phase, known_phases, phase_directory, phase_of, run_directory
from fewshot_nas.results.scores import (
    BEST_FIRST,
    LEADING,
    METRICS,
    OF_TOP,
    TITLES,
    Manifest,
    Network,
    Scored,
    joined_manifest,
    leading,
    network_of,
    objections,
    read_manifests,
)
from fewshot_nas.running.options import config_of, following, known_run
from fewshot_nas.scoring.judge import judge_run
from fewshot_nas.space.pool import Entry


def merge(options: argparse.Namespace) -> None:
    """Merge the parts of one evaluation beside them, and compare the scores with the ground truth."""
    # 1. The evaluation that is meant, the pool, and the parts to merge.
    print(known_run(options.save))
    options.phase, options.epoch = _asked(options)
    directory = phase_directory(options.save, Phase.parse(options.phase))
    scores = directory.scores(options.epoch)
    config = config_of(options, directory.config)
    space = config.space.build()
    pool = read_codes(config.run.pool_path, space)
    parts = _parts(options.parts, len(pool))
    beside = [BESIDE] if all(shard_path(scores, metric, BESIDE).exists() for metric in METRICS) else []
    # 2. Merge, if all parts are complete and were scored alike.
    manifests = read_manifests(scores, [*beside, *parts])
    merged = _merged(options, config, scores, pool, parts, manifests)
    for reason in objections(scores, manifests, parts):
        if not options.force:
            raise InputError(f"{reason}; --force merges all the same")
        print(f"warning: {reason}", file=sys.stderr)
    manifest = joined_manifest(manifests, len(next(iter(merged.values()))))
    if options.parts:
        manifest |= {"parts": options.parts, "pool_parts": len(pool)}
    # 3. Write.
    network = network_of(manifest, manifest_path(scores, min(manifests, default=1)), space)
    codes = {arch_id: code for part in pool for arch_id, code in part.items()}
    truth_path = config.truth_path(options.save)
    truth = read_truth(truth_path, codes, space)
    _write(scores, merged, manifest, len(pool))
    # 4. What the scores say: whether anything was learned, and how well they rank the ground truth.
    top1 = [scored.acc for scored in merged.get("top1", {}).values()]
    if top1 and (said := no_better(top1, manifest.get("guessing", 0.0))):
        print(said, file=sys.stderr)
    if (lead := leading(top1)) != LEADING:
        print(
            f"the mean top-1 is {sum(top1) / len(top1):.2f} %, so a few mistakes decide the likelihoods: these scores"
            f" rank best by mean probability{'' if lead in merged_by(scores) else ', which is not merged'}"
        )
    if not truth_path.exists():
        print(f"{truth_path}: no such file, so there is nothing to compare with (run.ground_truth)")
    else:
        _compare(merged, truth, network, truth_path)


def _write(scores: Path, merged: Mapping[str, Mapping[str, Scored]], manifest: Manifest, pool_parts: int) -> None:
    which = f"in {pool_parts} part{'s' * (pool_parts > 1)}"
    if "parts" in manifest:
        which = f"in parts {manifest['parts']} of {pool_parts}, not in the others"
    if "beside" in manifest:
        which += f", {len(manifest['beside'])} of them beside the others for the ground truth"
    for metric, found in merged.items():
        print(f"{len(found)} archs {which}: {write_merged(scores, metric, found, manifest)}")


def _merged(
    options: argparse.Namespace,
    config: Config,
    scores: Path,
    pool: Sequence[CodesById],
    parts: Sequence[int],
    manifests: Mapping[int, Manifest],
) -> dict[str, dict[str, Scored]]:
    """The merged scores by the metric that `--top` asks for; without it, by each that there is, likelihood first."""
    written = [metric for metric in BEST_FIRST if parts_with_scores(scores, metric).keys() & set(parts)]
    wanted, space = [OF_TOP[options.top]] if options.top else written or BEST_FIRST[:1], config.space.build()
    try:
        return {metric: merge_parts(scores, metric, pool, manifests, space, parts) for metric in wanted}
    except IncompleteError as error:
        raise InputError(f"{error}; {_ways_out(options, config, error.parts, parts, manifests)}") from None


def _asked(options: argparse.Namespace) -> tuple[str, str]:
    """The names of the phase and of the evaluation that are meant; what was not said follows from what there is."""
    epoch = options.epoch
    if epoch is not None and not is_evaluation_name(epoch):
        raise InputError(f"--epoch is {epoch!r}, expected a number such as 17, or 17_all_test, or 17_sample2000")
    known = [phase_of(options.save, options.phase)] if options.phase else known_phases(options.save)
    everything = {
        (phase.name, name): path
        for phase in known
        for name, path in phase_directory(options.save, phase).evaluations().items()
    }
    meant = [each for each in everything if epoch in (None, each[1])]
    if len(meant) > 1:
        alone = [
            each for each in meant if not any(merged_path(everything[each], metric).exists() for metric in METRICS)
        ]
        meant = alone if epoch is None and len(alone) == 1 else meant
    first = first_phase(options.save).name
    if len(meant) > 1 and (first, epoch) in meant:
        meant = [(first, str(epoch))]
    if len(meant) == 1:
        return meant[0]
    options.phase, options.epoch = known[0].name, epoch or "0"
    lines = [f"`{following(options, 'merge', phase=phase, epoch=each)}`" for phase, each in everything]
    found = f"there are {', '.join(lines)}" if lines else f"`{_test(options)}` writes scores"
    which = "several evaluations" if meant else "no such evaluation"
    where = phase_directory(options.save, known[0]).scores(epoch) if epoch else run_directory(options.save)
    raise InputError(f"{where}: {which}; {found}")


def _parts(text: str | None, count: int) -> list[int]:
    """The parts to merge; all of them if the option was not given."""
    if text is None:
        return list(range(1, count + 1))
    expected = f"a list of 1..{count} such as 1,3 or 1-2"
    parts = sorted(read_numbers("--parts", text, expected, count))
    if not 1 <= parts[0] <= parts[-1] <= count:
        raise InputError(f"--parts is {text!r}, expected {expected}")
    return parts


def _ways_out(
    options: argparse.Namespace,
    config: Config,
    missing: Sequence[int],
    parts: Sequence[int],
    manifests: Mapping[int, Manifest],
) -> str:
    """The commands that score the missing parts, or merge the others."""
    known: Manifest = next(iter(manifests.values()), {})
    sample = known.get("sample")
    which = {"sample": sample} if sample else {"json_part": as_list(missing), "limit": known.get("limit")}
    said = f"`{_test(options, **which, **_not_default(known, config))}` fills them"
    there = [part for part in parts if part not in missing]
    if there:
        merge = following(
            options,
            "merge",
            phase=options.phase,
            epoch=options.epoch,
            top=options.top,
            parts=as_list(there),
        )
        said += f", `{merge}` merges the others only"
    return said


def _not_default(known: Manifest, config: Config) -> dict[str, object]:
    """The options of `test` that the other parts were scored with, and that do not follow from the settings."""
    default = {
        "model_name": "supernet",
        "calibration_images": config.evaluation.calibration_images,
        "precision": config.run.precision,
    }
    model = {"model_name": Path(known["checkpoint"]).stem} if "checkpoint" in known else {}
    found = default | dict(known) | model
    return {name: found[name] for name, value in default.items() if found[name] != value}


def _test(options: argparse.Namespace, **more: object) -> str:
    """The line that scores what `--epoch` asks for."""
    test_set = 1 if "_all_test" in options.epoch else None
    epoch = options.epoch.partition("_")[0]
    return following(options, "test", phase=options.phase, epoch=epoch, test_set=test_set, **more)


def _compare(
    merged: Mapping[str, Mapping[str, Scored]], truth: Mapping[str, Entry], network: Network, path: Path
) -> None:
    scored = next(iter(merged.values()))
    common = {arch_id: entry for arch_id, entry in truth.items() if arch_id in scored}
    if len(common) < FEWEST:
        print(f"{path}: only {len(common)} of its {len(truth)} archs were scored, too few for a correlation")
        return
    archs = {arch_id: entry.arch for arch_id, entry in common.items()}
    accuracy = {arch_id: entry.acc for arch_id, entry in common.items()}
    rows = {
        f"supernet, {TITLES[metric]}": {arch_id: found[arch_id].acc for arch_id in common}
        for metric, found in merged.items()
    }
    judged = judge_run(path, common, network, rows)
    rows |= proxies(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
    print(f"against {path}, with 95 % intervals:")
    if len(common) < TELLING:
        print(f"only {len(common)} archs: tau and its interval tell little below {TELLING}")
    print(correlation_table({name: correlate(values, accuracy) for name, values in rows.items()}))
    if judged:
        print(f"\n{judgement_text(judged)}")
