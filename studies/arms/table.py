"""The tables of docs/study_beds.md on the arms of studies/arms/run.py, from their committed scores.

python -m studies.arms.table               prints them
python -m studies.arms.table --collect     gathers the scores from results/ first
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.main import run
from fewshot_nas.ranking.correlation import Floats, correlate, interval_of, tau_of_weights
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import by_width
from studies.arms.splits import by_table
from studies.common import FILES, ROOT, STUDIES, space_of
from studies.seeds import tau_gain

TRUTH = FILES / "fashion_pairs" / "gt_arch200.json"
RESULTS = STUDIES / "arms" / "results.json"
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
    "depth2": "40,000 one-shot, 20,000 in 2 groups by depth",
    "similar2": "40,000 one-shot, 20,000 in 2 groups by gradients",
    "rate": "learning rate of 0.3",
    "drawn": "four archs drawn, no ends",
    "wide": "the same, wide ones more often",
    "adapted16": "default, then each arch 16 steps alone",
    "adapted32": "default, then each arch 32 steps alone",
}
MEASURED = {
    "plain": "default, 60,000 images",
    "plain_long": "one-shot as in the configuration, 180,000 images",
    "adapted32": ARMS["adapted32"],
}
SPLITS = ("split2", "split7", "depth2", "similar2")
BASE = dict.fromkeys(SPLITS, "split1")  # what an arm is compared with; the default for all others
RESAMPLES = 1_000

Scores = Mapping[str, float]
Arms = Mapping[str, Mapping[int, Mapping[str, Any]]]  # by arm, seed, measure and arch; the groups of a split


def main(argv: Sequence[str] | None = None) -> int:
    """Collect if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="renew the committed scores from results/")
    if parser.parse_args(argv).collect:
        collect(ROOT / "results" / "pairs_arms")
    print("\n".join(committed()))
    return 0


def committed() -> Iterator[str]:
    """The tables of the committed scores."""
    space = space_of("fashion_pairs")
    entries = read_arch_file(TRUTH, space)
    truth = {arch_id: entry.acc for arch_id, entry in entries.items()}
    archs = {arch_id: entry.arch for arch_id, entry in entries.items()}
    yield from lines(read(RESULTS), truth, archs, space)


def collect(results: Path) -> None:
    """Copy the scores of the arms and seeds that are there into one file, and what a split's groups are."""
    from fewshot_nas.models.checkpoint import load_supernet

    found = read_json(RESULTS) if RESULTS.exists() else {}
    for path in sorted(results.glob("*_s[0-9].json")):
        found[path.stem] = read_json(path)
        if path.stem.rpartition("_")[0] in SPLITS:
            supernet = load_supernet(results / path.stem / "supernet.pth")
            found[path.stem]["groups"] = supernet.split.values()["groups"]
    write_json(RESULTS, dict(sorted(found.items())))


def read(path: Path) -> Arms:
    """The scores by arm and seed."""
    found: dict[str, dict[int, Any]] = {}
    for key, scores in read_json(path).items():
        name, seed = re.fullmatch(r"(.+)_s(\d)", key).groups()  # type: ignore[union-attr]
        found.setdefault(name, {})[int(seed)] = scores
    return {name: found[name] for name in {**ARMS, **MEASURED} if name in found}


def lines(arms: Arms, truth: Scores, archs: Mapping[str, Arch], space: ResNetSpace) -> Iterator[str]:
    """Markdown: the arms, measures of the same nets, splits."""
    yield from _rankings(arms, truth, archs, space)
    yield ""
    yield from _measures(arms, truth)
    yield ""
    yield from splits(arms, truth, archs, space)


def _rankings(arms: Arms, truth: Scores, archs: Mapping[str, Arch], space: ResNetSpace) -> Iterator[str]:
    """Each arm's tau, and its gain over what it differs from, with the same seeds on the same resamples."""
    told = {
        "multiply-adds": lambda arch: space.cost(arch, num_classes=45).macs,
        "first width": lambda arch: space.width(0, arch[space.stages]),
        "last width": lambda arch: space.width(3, arch[space.stages + 3]),
    }
    errors = " | ".join(f"error with {name}" for name in told)
    yield f"| arm | seeds | archs | tau | upper half | gain in tau | by top-1 | gain in tau by top-1 | {errors} |"
    yield f"|{'---|' * (8 + len(told))}"
    for name, seeds in ((name, arms[name]) for name in ARMS if name in arms):
        runs = [scores["prob"] for scores in seeds.values()]
        known = {arch_id: truth[arch_id] for arch_id in truth if all(arch_id in each for each in runs)}
        by_top1 = _mean_tau([scores["top1"] for scores in seeds.values()], known)
        cells = [
            *(
                str(len(seeds)),
                str(len(known)),
                f"{_mean_tau(runs, known):.3f}",
                f"{_mean_tau(runs, _upper(known)):.2f}",
            ),
            *(_gain(arms, name, known, "prob"), f"{by_top1:.2f}", _gain(arms, name, known, "top1")),
        ]
        cells += [f"{_error_with(runs, known, archs, of):+.2f}" for of in told.values()]
        yield f"| {ARMS[name]} | {' | '.join(cells)} |"


def _gain(arms: Arms, name: str, known: Scores, measure: str) -> str:
    """Of an arm over its base, on the seeds that both have."""
    base = arms.get(BASE.get(name, "default"), {})
    seeds = sorted(arms[name].keys() & base.keys())
    if arms[name] is base or not seeds:
        return ""
    ours, theirs = ([arm[seed][measure] for seed in seeds] for arm in (arms[name], base))
    return _shown(gain_over_seeds(ours, theirs, known))


def gain_over_seeds(ours: Sequence[Scores], theirs: Sequence[Scores], truth: Scores) -> Interval:
    """Mean gain in tau; archs are resampled, and so are pairs of rankings with the same seed."""
    rng, y = np.random.default_rng(0), np.array([*truth.values()])
    drawn = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=RESAMPLES)
    weights = np.vstack([np.ones(len(y)), drawn]).astype(np.float64)
    each = np.array(
        [
            np.subtract(*(tau_of_weights(_column(side, truth), y, weights) for side in pair))
            for pair in zip(ours, theirs, strict=True)
        ]
    )  # [seeds, 1 + resamples]
    seeds = rng.integers(len(each), size=(len(each), RESAMPLES))
    resampled = each[seeds, np.arange(1, RESAMPLES + 1)].mean(0)
    return interval_of(float(each[:, 0].mean()), resampled[~np.isnan(resampled)])


def _column(scores: Scores, truth: Scores) -> Floats:
    return np.array([scores[arch_id] for arch_id in truth])


def splits(arms: Arms, truth: Scores, archs: Mapping[str, Arch], space: ResNetSpace) -> Iterator[str]:
    """What splitting does to scores, apart by pairs of archs and by groups; see studies/arms/run.py."""
    yield (
        "| split | seeds | tau, same groups | without the split | tau, two stages apart or more | without the split "
        "| offsets, sd in common | offsets, sd of a seed | agreement with what is missed |"
    )
    yield f"|{'---|' * 9}"
    y = np.array([*truth.values()])
    for name in SPLITS:
        seeds = sorted(arms.get(name, {}).keys() & arms.get("split1", {}).keys())
        if not seeds:
            continue
        after, before = ([_column(arms[arm][seed]["prob"], truth) for seed in seeds] for arm in (name, "split1"))
        members = [_members(space, arms[name][seed]["groups"], [archs[arch_id] for arch_id in truth]) for seed in seeds]
        apart = [(each[:, None] != each[None]).sum(2) for each in members]
        taus = [
            f"{fmean(_tau_of_pairs(x, y, chosen(each)) for x, each in zip(side, apart, strict=True)):.2f}"
            for chosen in (lambda each: each == 0, lambda each: each >= 2)
            for side in (after, before)
        ]
        common, noise, agrees = _offsets(after, before, members, y)
        yield f"| {ARMS[name]} | {len(seeds)} | {' | '.join(taus)} | {common:.2f} | {noise:.2f} | {agrees:+.2f} |"


def _members(space: Space, groups: Any, archs: Sequence[Arch]) -> NDArray[np.int64]:
    """The group that serves each arch in each stage, [archs, stages]."""
    split = by_width(space, groups) if isinstance(groups, int) else by_table(space, groups["tables"], groups["name"])
    stages = [place.stage for place in space.places]
    rules = [split.rules[stages.index(stage)] for stage in range(space.stages)]
    return np.array([[rule.group(arch) for rule in rules] for arch in archs], dtype=np.int64)


def _tau_of_pairs(x: Floats, y: Floats, chosen: NDArray[np.bool_]) -> float:
    """Among some pairs of archs."""
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    return float(signs[chosen & ~np.eye(len(x), dtype=bool)].mean())


def _offsets(
    after: Sequence[Floats], before: Sequence[Floats], members: Sequence[NDArray[np.int64]], truth: Floats
) -> tuple[float, float, float]:
    """Of the groups, in points of the score: the spread that seeds share, that of a single seed, and what they mend.

    The offsets are fitted to child less `split1`, all stages together; an arch's offset is the sum over its stages.
    """
    fits = []
    for child, parent, groups in zip(after, before, members, strict=True):
        columns = np.hstack([np.eye(stage.max() + 1)[stage] for stage in groups.T])
        change = child - parent - (child - parent).mean()
        fits.append(columns @ np.linalg.lstsq(columns, change, rcond=None)[0])
    fitted = np.array(fits)  # [seeds, archs]
    mean, noise = fitted.mean(0), float(np.sqrt(fitted.var(0, ddof=1).mean())) if len(fitted) > 1 else float("nan")
    common = max(0.0, float(mean.var()) - (noise**2 / len(fitted) if len(fitted) > 1 else 0.0)) ** 0.5
    missed = _ranks([*truth]) - np.mean([_ranks([*each]) for each in before], axis=0)
    return common, noise, float(np.corrcoef(mean, missed)[0, 1])


def _mean_tau(runs: Sequence[Scores], truth: Scores) -> float:
    return fmean(correlate(each, truth, resamples=0).kendall.value for each in runs)


def _upper(truth: Scores) -> Scores:
    """The better half."""
    return dict(sorted(truth.items(), key=lambda item: item[1])[len(truth) // 2 :])


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
        cells = [str(len(known)), *(f"{_mean_tau(each, known):.3f}" for each in by.values())]
        yield f"| {MEASURED[name]} | {' | '.join(cells)} | {_shown(tau_gain(by['log'], by['prob'], known))} |"


def _shown(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.2f}, {found.high:+.2f}]"


if __name__ == "__main__":
    sys.exit(run(main))
