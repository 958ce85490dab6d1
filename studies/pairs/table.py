"""The tables of the test bed in docs/study_beds.md, from the committed accuracies and scores.

python -m studies.pairs.table               prints them
python -m studies.pairs.table --collect     gathers the accuracies and scores from results/ first
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fewshot_nas.cli.main import run
from fewshot_nas.ranking.correlation import correlate, proxies
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import shard_path
from fewshot_nas.space.pool import read_arch_file
from studies.common import FILES, METRICS, STUDIES, Scores, copy_truth, print_tables, runs_of, scores_of, space_of
from studies.seeds import reliability, tau_gain

HOME = FILES / "fashion_pairs"
STUDY = STUDIES / "pairs" / "results.json"
PILOT = STUDIES / "pairs" / "pilot.json"
TRUTHS = {"truth": "pairs_truth/gt_arch200.json", "twice": "pairs_twice/gt_arch30.json"}
SPLITS = ("valid", "test")
EVALUATED = "json_results/epoch0"  # in the directory of a run
ARMS = {"oneshot": "one-shot"}

Study = dict[str, Any]
Runs = Mapping[str, Sequence[float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Collect if asked, then print."""
    return print_tables(__doc__, argv, STUDY, collect, lines)


def collect(results: Path) -> None:
    """Copy accuracies and scores into the committed files; what is not there stays as it was."""
    study = read_json(STUDY) if STUDY.exists() else {"scores": {}}
    found = {name: results / path for name, path in TRUTHS.items() if (results / path).exists()}
    if "truth" in found:
        copy_truth(found["truth"], HOME, "fashion_pairs")
    for name, path in found.items():
        study[name] = {split: {**study.get(name, {}).get(split, {}), **runs_of(path, split)} for split in SPLITS}
    tops = sorted(top for arm in ARMS for top in results.glob(f"pairs_{arm}_s[0-9]"))
    for top in tops:
        if shard_path(top / EVALUATED, "prob", 1).exists():
            scores = scores_of(top / EVALUATED, study["truth"]["valid"], "fashion_pairs")
            study["scores"][top.name.removeprefix("pairs_")] = scores
    write_json(STUDY, study)


def lines(study: Study) -> Iterator[str]:
    """Markdown."""
    yield from _forms(read_json(PILOT))
    yield ""
    yield from _reliability(study)
    yield ""
    yield from _rankings(study)


def _forms(pilot: Mapping[str, Runs]) -> Iterator[str]:
    """How far archs and seeds lie apart in each form that was tried."""
    yield "| form | archs | of these, with two seeds | mean | sd between archs | noise of a seed |"
    yield f"|{'---|' * 6}"
    for form, runs in pilot.items():
        first, pairs = [each[0] for each in runs.values()], [each[:2] for each in runs.values() if len(each) > 1]
        noise = f"{_noise(pairs):.2f}" if pairs else ""
        yield f"| {form} | {len(runs)} | {len(pairs)} | {fmean(first):.1f} | {stdev(first):.1f} | {noise} |"


def _noise(pairs: Sequence[Sequence[float]]) -> float:
    """Standard deviation of a seed's accuracies, less what a seed adds to all archs alike, for that ranks nothing."""
    return stdev(one - other for one, other in pairs) / math.sqrt(2)


def _reliability(study: Study) -> Iterator[str]:
    """What the seeds of the archs that have several say; the longer training judges which of these are the better."""
    yield (
        "| truth | archs | of these, with several seeds | seeds | tau of two seeds | the same, upper half "
        "| reliability of one seed | ceiling with one seed | tau to twice as long |"
    )
    yield f"|{'---|' * 9}"
    for split in SPLITS:
        runs = study["truth"][split]
        several, twice = _several(runs), _means(study["twice"][split])
        found, single = reliability(several), _single(several)
        counts = (len(runs), found.archs, found.seeds)
        numbers = (found.seed_tau, _upper(several, twice), single, _ceiling(single), _tau_to_twice(study, split))
        yield f"| {split} | {' | '.join([*map(str, counts), *(f'{number:.2f}' for number in numbers)])} |"


def _single(runs: Runs) -> float:
    """The share of the variance of a single seed that is due to the arch."""
    seeds, mean = len(next(iter(runs.values()))), reliability(runs).share
    return mean / (seeds - (seeds - 1) * mean)


def _ceiling(share: float) -> float:
    return 2 / math.pi * math.asin(math.sqrt(share))


def _several(runs: Runs) -> Runs:
    """The archs with more than one seed, as many seeds as all of them have."""
    found = {arch_id: each for arch_id, each in runs.items() if len(each) > 1}
    seeds = min(map(len, found.values()))
    return {arch_id: each[:seeds] for arch_id, each in found.items()}


def _upper(runs: Runs, judge: Scores) -> float:
    """Tau of two seeds, the mean over all pairs, over the half of the archs that a judge holds for the better."""
    known = sorted(runs.keys() & judge.keys(), key=judge.__getitem__)
    return reliability({arch_id: runs[arch_id] for arch_id in known[len(known) // 2 :]}).seed_tau


def _tau_to_twice(study: Study, split: str) -> float:
    """Between the first seed's accuracies and those after twice as long a training."""
    twice = _means(study["twice"][split])
    once = {arch_id: study["truth"][split][arch_id][0] for arch_id in twice}
    return correlate(once, twice, resamples=0).kendall.value


def _means(runs: Runs) -> Scores:
    return {arch_id: fmean(accuracies) for arch_id, accuracies in runs.items()}


def _rankings(study: Study) -> Iterator[str]:
    """Proxies and supernets against the truth; each supernet is a row, and so is its gain over the best proxy."""
    truth = {split: _means(study["truth"][split]) for split in SPLITS}
    counted = _proxies(truth["valid"])
    scored = {f"{name}, {metric}": each[metric] for name, each in study["scores"].items() for metric in METRICS}
    best = max(counted, key=lambda name: correlate(counted[name], truth["valid"], resamples=0).kendall.value)
    yield f"| what ranks | archs | tau | Spearman | Pearson | test: tau | gain in tau over {best} |"
    yield f"|{'---|' * 7}"
    for name, scores in {**counted, **scored}.items():
        valid, test = (correlate(scores, truth[split]) for split in SPLITS)
        gain = _shown(tau_gain([scores], [counted[best]], truth["valid"])) if name in scored else ""
        cells = map(_shown, (valid.kendall, valid.spearman, valid.pearson, test.kendall))
        yield f"| {name} | {valid.n} | {' | '.join(cells)} | {gain} |"


def _shown(found: Interval) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _proxies(truth: Scores) -> dict[str, Scores]:
    space = space_of("fashion_pairs")
    archs = {arch_id: entry.arch for arch_id, entry in read_arch_file(HOME / "gt_arch200.json", space).items()}
    return proxies(space, {arch_id: archs[arch_id] for arch_id in truth}, num_classes=45)


if __name__ == "__main__":
    sys.exit(run(main))
