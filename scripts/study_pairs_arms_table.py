"""The tables of docs/study.md on the arms of scripts/study_pairs_arms.py, from their committed scores.

python scripts/study_pairs_arms_table.py               prints them
python scripts/study_pairs_arms_table.py --collect     gathers the scores from results/ first
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from fewshot_nas.cli import run
from fewshot_nas.config import load_config
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.correlation import Floats, Interval, agreement, tau_gain
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.search_space import SearchSpace

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "json_file" / "fashion_pairs"
ARMS = {
    "default": "default",
    "default_average": "default, averaged weights",
    "channel": "gradients scaled by channel",
    "channel_depth": "gradients scaled by channel and depth",
    "pairs": "pairwise loss",
    "warm": "warm start from the largest",
    "bignas": "BigNAS as published",
    "split1": "40,000 one-shot, 20,000 in 1 group",
    "split2": "40,000 one-shot, 20,000 in 2 groups",
    "split7": "40,000 one-shot, 20,000 in 7 groups",
    "adapted16": "default, then each arch 16 steps alone",
    "adapted32": "default, then each arch 32 steps alone",
}
MEASURED = {
    "plain": "default, 60,000 images",
    "plain_long": "one-shot as in the configuration, 180,000 images",
    "adapted32": ARMS["adapted32"],
}
BASE = {"split2": "split1", "split7": "split1"}  # what an arm is compared with; the default for all others

Scores = Mapping[str, float]
Arms = Mapping[str, Mapping[int, Mapping[str, Scores]]]  # by arm, seed, measure and arch


def main(argv: Sequence[str] | None = None) -> int:
    """Collect if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="renew the committed scores from results/")
    if parser.parse_args(argv).collect:
        collect(ROOT / "results" / "pairs_arms")
    space = load_config(ROOT / "configs" / "fashion_pairs.yml").space.build()
    entries = read_arch_file(HOME / "gt_arch200.json", space)
    truth = {arch_id: entry.acc for arch_id, entry in entries.items()}
    archs = {arch_id: entry.arch for arch_id, entry in entries.items()}
    print("\n".join(lines(read(HOME / "arms.json"), truth, archs, space)))
    return 0


def collect(results: Path) -> None:
    """Copy the scores of all arms and seeds into one file."""
    write_json(HOME / "arms.json", {path.stem: read_json(path) for path in sorted(results.glob("*_s[0-9].json"))})


def read(path: Path) -> Arms:
    """The scores by arm and seed."""
    found: dict[str, dict[int, Any]] = {}
    for key, scores in read_json(path).items():
        name, seed = re.fullmatch(r"(.+)_s(\d)", key).groups()  # type: ignore[union-attr]
        found.setdefault(name, {})[int(seed)] = scores
    return {name: found[name] for name in {**ARMS, **MEASURED} if name in found}


def lines(arms: Arms, truth: Scores, archs: Mapping[str, Arch], space: SearchSpace) -> Iterator[str]:
    """Markdown."""
    yield from _rankings(arms, truth, archs, space)
    yield ""
    yield from _measures(arms, truth)


def _rankings(arms: Arms, truth: Scores, archs: Mapping[str, Arch], space: SearchSpace) -> Iterator[str]:
    """Each arm's tau, and its gain over what it differs from, with the same seeds on the same resamples."""
    told = {
        "multiply-adds": lambda arch: total_cost(space, arch, num_classes=45).macs,
        "first width": lambda arch: space.width(0, arch.outs[0]),
        "last width": lambda arch: space.width(3, arch.outs[3]),
    }
    yield (
        "| arm | seeds | archs | tau | upper half | by top-1 | Pearson | gain in tau | of odd archs | of even archs | "
        + " | ".join(f"error with {name}" for name in told)
        + " |"
    )
    yield f"|{'---|' * (10 + len(told))}"
    for name, seeds in ((name, arms[name]) for name in ARMS if name in arms):
        runs = [scores["prob"] for scores in seeds.values()]
        known = {arch_id: truth[arch_id] for arch_id in truth if all(arch_id in each for each in runs)}
        pearson = fmean(agreement(each, known, resamples=0).pearson.value for each in runs)
        cells = [
            str(len(seeds)),
            str(len(known)),
            _shown(_mean_interval(runs, known)),
            f"{_mean_tau(runs, _upper(known)):.2f}",
        ]
        by_top1 = _mean_tau([scores["top1"] for scores in seeds.values()], known)
        cells += [f"{by_top1:.2f}", f"{pearson:.2f}", *_gains(arms, name, known)]
        cells += [f"{_error_with(runs, known, archs, of):+.2f}" for of in told.values()]
        yield f"| {ARMS[name]} | {' | '.join(cells)} |"


def _gains(arms: Arms, name: str, known: Scores) -> list[str]:
    base = arms.get(BASE.get(name, "default"), {})
    seeds = sorted(arms[name].keys() & base.keys())
    if arms[name] is base or not seeds:
        return [""] * 3
    ours, theirs = ([arm[seed]["prob"] for seed in seeds] for arm in (arms[name], base))
    parts = [{arch_id: known[arch_id] for arch_id in known if _number(arch_id) % 2 == odd} for odd in (1, 0)]
    return [
        _shown(tau_gain(ours, theirs, known)),
        *(f"{_mean_tau(ours, part) - _mean_tau(theirs, part):+.2f}" for part in parts),
    ]


def _mean_interval(runs: Sequence[Scores], truth: Scores) -> Interval:
    found = [agreement(each, truth).kendall for each in runs]
    return Interval(*(fmean(getattr(each, name) for each in found) for name in ("value", "low", "high", "error")))


def _mean_tau(runs: Sequence[Scores], truth: Scores) -> float:
    return fmean(agreement(each, truth, resamples=0).kendall.value for each in runs)


def _upper(truth: Scores) -> Scores:
    """The better half."""
    return dict(sorted(truth.items(), key=lambda item: item[1])[len(truth) // 2 :])


def _number(arch_id: str) -> int:
    return int(arch_id.removeprefix("arch"))


def _error_with(runs: Sequence[Scores], truth: Scores, archs: Mapping[str, Arch], of: Callable[[Arch], float]) -> float:
    """Correlation of what is told of an arch with its rank in the truth less that in the scores."""
    told = _ranks([of(archs[arch_id]) for arch_id in truth])
    true = _ranks([*truth.values()])
    errors = [true - _ranks([each[arch_id] for arch_id in truth]) for each in runs]
    return fmean(float(np.corrcoef(error, told)[0, 1]) for error in errors)


def _ranks(values: Sequence[float]) -> Floats:
    """Mid-ranks."""
    x = np.asarray(values, dtype=np.float64)
    ranks: Floats = np.sign(np.subtract.outer(x, x)).sum(1)
    return ranks


def _measures(arms: Arms, truth: Scores) -> Iterator[str]:
    """What ranks better on the same nets: answers that are right, their probability, or its logarithm."""
    yield "| nets | archs | tau by top-1 | by probability | by log-probability | gain of the last over probability |"
    yield f"|{'---|' * 6}"
    for name in MEASURED:
        runs = [*arms.get(name, {}).values()]
        if not runs:
            continue
        known = {arch_id: truth[arch_id] for arch_id in truth if all(arch_id in each["log"] for each in runs)}
        by = {measure: [each[measure] for each in runs] for measure in ("top1", "prob", "log")}
        cells = [str(len(known)), *(_shown(_mean_interval(each, known)) for each in by.values())]
        yield f"| {MEASURED[name]} | {' | '.join(cells)} | {_shown(tau_gain(by['log'], by['prob'], known))} |"


def _shown(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.2f}, {found.high:+.2f}]"


if __name__ == "__main__":
    sys.exit(run(main))
