"""The tables of docs/study_beds.md, from the committed scores.

python -m studies.mnist.table               prints them
python -m studies.mnist.table --collect     gathers the scores from results/ first
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fewshot_nas.cli.main import run
from fewshot_nas.ranking.correlation import Correlation, correlate, proxies
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.records.files import write_json
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.directories import shard_path
from fewshot_nas.space.pool import read_arch_file
from studies.common import FILES, METRICS, STUDIES, Scores, copy_truth, print_tables, runs_of, scores_of, space_of
from studies.seeds import reliability, tau_gain

HOME = FILES / "fashion_mnist"
STUDY = STUDIES / "mnist" / "results.json"
TRUTH = "gt_arch30.json"
PHASES = ("1", "2", "3_from_2", "4_from_3", "5_from_4", "6_from_5", "7_from_6")
ARMS = {
    "oneshot": "one-shot, 10 epochs",
    "few": "one-shot 4, then 6 phases of 1",
    "none": "the same, no LR multipliers",
    "table": "the same, LR multipliers by table",
    "sequence": "one-shot 10, then 6 phases of 1",
    "ends": "one-shot 4, ends of the space",
    "teacher": "one-shot 4, the largest teaches",
    "bignas": "one-shot 4, both of these (BigNAS)",
    "fair": "one-shot 4, fair sampling",
    "space": "one-shot 4, digits of the whole space",
    "prioritized": "one-shot 4, prioritized teachers",
}
SPLIT = ("few", "none", "table", "sequence")  # arms that end with seven groups
ENDS = ("largest", "smallest")
SHORT = "one-shot 4"
SHOWN = {"BigNAS 4": ("bignas", "1"), SHORT: ("few", "1"), "one-shot 10": ("oneshot", "1"), "few": ("few", "7_from_6")}
SPLITS = {"valid": "json_results/epoch0", "test": "json_results/epoch0_all_test"}

HINDSIGHT = "width of the last stage"

Study = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Collect if asked, then print."""
    return print_tables(__doc__, argv, STUDY, collect, lines)


def collect(results: Path) -> None:
    """Copy ground truth and scores into the committed files, so that they outlive the results."""
    truth = results / "study_truth" / TRUTH
    copy_truth(truth, HOME, "fashion_mnist")
    runs: Study = {split: runs_of(truth, split) for split in SPLITS}
    tops = (top for arm in ARMS for top in sorted(results.glob(f"study_{arm}_s[0-9]")))
    scores = {top.name.removeprefix("study_"): dict(_phases(top, runs["valid"].keys())) for top in tops}
    write_json(STUDY, {"truth": runs, "scores": scores})


def _phases(top: Path, archs: Collection[str]) -> Iterator[tuple[str, Study]]:
    """Scores by phase and split, and the accuracies of both ends of the space."""
    for phase in PHASES:
        directory = top if phase == "1" else top / phase
        places = {split: directory / place for split, place in SPLITS.items()}
        scored = {split: place for split, place in places.items() if _finished(place)}
        if "valid" in scored:
            scores = {split: scores_of(path, archs, "fashion_mnist") for split, path in scored.items()}
            yield phase, {**scores, "ends": _ends(directory / "log.jsonl")}


def _ends(log: Path) -> Scores:
    """Top-1 on the ranking images of the largest and the smallest arch, after the last epoch."""
    top1 = read_log(log).epochs[-1].top1
    return {name: top1[name] for name in ENDS}


def _finished(directory: Path) -> bool:
    return all(shard_path(directory, metric, 1).exists() for metric in METRICS)


def lines(study: Study) -> Iterator[str]:
    """Markdown."""
    truth = {split: _means(runs) for split, runs in study["truth"].items()}
    yield from _reliability(study)
    yield ""
    yield (
        "| what ranks | phase | seeds | tau by top-1 | tau by prob. | Spearman | Pearson | test: tau by prob. "
        "| largest, % | smallest, % |"
    )
    yield f"|{'---|' * 10}"
    for name, scores in _proxies(study).items():
        valid, seen = ([correlate(scores, truth[split])] for split in SPLITS)
        yield _row((name, "", ""), [], valid, seen, [])
    for arm, title in ARMS.items():
        for phase in PHASES:
            top1, prob, test = (
                [correlate(scores[metric], truth[split]) for scores in _of(study, arm, phase, split)]
                for split, metric in (("valid", "top1"), ("valid", "prob"), ("test", "prob"))
            )
            if prob:
                ends = _of(study, arm, phase, "ends")
                yield _row((title, phase, str(len(prob))), top1, prob, test, ends)
    yield ""
    yield "| gain in tau, ranking images | [95 %] |"
    yield "|---|---|"
    for name, ours, theirs in _pairs(study):
        yield f"| {name} | {_mean([tau_gain(ours, theirs, truth['valid'])])} |"
    yield ""
    yield from _by_width(study)


def _reliability(study: Study) -> Iterator[str]:
    yield "| ground truth | archs | seeds | tau of two seeds | tau of two halves | reliability of the mean | ceiling |"
    yield "|---|---|---|---|---|---|---|"
    for split, runs in study["truth"].items():
        found = reliability(runs)
        numbers = (found.seed_tau, found.half_tau, found.share, found.ceiling)
        yield f"| {split} | {found.archs} | {found.seeds} | {' | '.join(f'{number:.2f}' for number in numbers)} |"


def _by_width(study: Study) -> Iterator[str]:
    """What archs with the same width of the last stage reach alone and in supernets, by mean probability."""
    found = {title: _of(study, arm, phase, "valid") for title, (arm, phase) in SHOWN.items()}
    shown = {title: seeds for title, seeds in found.items() if seeds}
    yield f"| {HINDSIGHT} | archs | truth, top-1 | {' | '.join(shown)} |"
    yield f"|{'---|' * (3 + len(shown))}"
    truth, widths = _means(study["truth"]["valid"]), _proxies(study)[HINDSIGHT]
    for width in sorted(set(widths.values())):
        archs = [arch_id for arch_id in truth if widths[arch_id] == width]
        columns = [[truth], *([each["prob"] for each in seeds] for seeds in shown.values())]
        means = [f"{fmean(scores[key] for scores in column for key in archs):.1f}" for column in columns]
        yield f"| {width:.0f} | {len(archs)} | {' | '.join(means)} |"


def _row(
    names: Iterable[str],
    top1: Sequence[Correlation],
    prob: Sequence[Correlation],
    test: Sequence[Correlation],
    ends: Sequence[Scores],
) -> str:
    """A proxy has no accuracy of its own: its tau stands with the probabilities'."""
    columns = [[each.kendall for each in found] for found in (top1, prob)]
    columns += [[each.spearman for each in prob], [each.pearson for each in prob], [each.kendall for each in test]]
    accuracies = [f"{fmean(each[name] for each in ends):.1f}" if ends else "" for name in ENDS]
    return f"| {' | '.join([*names, *map(_mean, columns), *accuracies])} |"


def _mean(found: Sequence[Interval]) -> str:
    """Value and interval's ends, means over seeds: no narrower for a second seed, for the archs are the same."""
    if not found:
        return ""
    low, value, high = (fmean(getattr(each, name) for each in found) for name in ("low", "value", "high"))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _means(runs: Mapping[str, Sequence[float]]) -> Scores:
    return {arch_id: sum(accuracies) / len(accuracies) for arch_id, accuracies in runs.items()}


def _of(study: Study, arm: str, phase: str, what: str) -> list[Any]:
    """Scores of a split, or the ends, of an arm after a phase: one for each seed that has them."""
    arms = (phases for name, phases in sorted(study["scores"].items()) if name.rpartition("_s")[0] == arm)
    return [phases[phase][what] for phases in arms if what in phases.get(phase, {})]


def _proxies(study: Study) -> dict[str, Scores]:
    """The usual ones, and one that we know of with hindsight."""
    space = space_of("fashion_mnist")
    archs = {arch_id: entry.arch for arch_id, entry in read_arch_file(HOME / TRUTH, space).items()}
    assert archs.keys() == study["truth"]["valid"].keys()
    last = {
        arch_id: float(space.width(space.stages - 1, arch[2 * space.stages - 1])) for arch_id, arch in archs.items()
    }
    return {**proxies(space, archs, num_classes=10), HINDSIGHT: last}


def _pairs(study: Study) -> Iterator[tuple[str, list[Scores], list[Scores]]]:
    """What is compared: a name, and the rankings of both sides."""
    last = {arm: PHASES[-1] if arm in SPLIT else PHASES[0] for arm in ARMS}
    found = {arm: [each["prob"] for each in _of(study, arm, phase, "valid")] for arm, phase in last.items()}
    for arm in ("oneshot", "few"):
        found[f"{arm} by top-1"] = [each["top1"] for each in _of(study, arm, last[arm], "valid")]
    found[SHORT] = [each["prob"] for each in _of(study, "few", PHASES[0], "valid")]
    found |= {"drawn ends": found[SHORT] + found["teacher"], "fixed ends": found["ends"] + found["bignas"]}
    truth, ranked = _means(study["truth"]["valid"]), _proxies(study)
    taus = {name: correlate(scores, truth, resamples=0).kendall.value for name, scores in ranked.items()}
    best = max(taus.keys() - {HINDSIGHT}, key=taus.__getitem__)
    named = {**found, best: [ranked[best]]}
    for ours, theirs in (
        ("oneshot", "oneshot by top-1"),
        ("few", "few by top-1"),
        ("oneshot", best),
        (SHORT, best),
        ("few", best),
        ("few", "oneshot"),
        (SHORT, "oneshot"),
        ("few", SHORT),
        ("none", "few"),
        ("table", "few"),
        ("sequence", "oneshot"),
        *((arm, SHORT) for arm in ("ends", "teacher", "bignas", "fair", "space")),
        ("drawn ends", "fixed ends"),
        ("prioritized", "bignas"),
    ):
        if named[ours] and named[theirs]:
            yield f"{ours} over {theirs}", named[ours], named[theirs]


if __name__ == "__main__":
    sys.exit(run(main))
