"""The tables of docs/cream.md, from what scripts/study_cream.py has collected."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import path_cost
from fewshot_nas.cream.paths import CreamPath
from fewshot_nas.cream.pool import read_paths
from fewshot_nas.ranking.correlation import Interval, agreement, interval_of, tau_gain
from fewshot_nas.ranking.reliability import reliability
from fewshot_nas.settings import load
from fewshot_nas.space.cost import Cost

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "json_file" / "cream_small"
SMALL = ROOT / "configs" / "cream_small.yml"
POOL = HOME / "pool.json"
PICKS = COMBINED, ADAPTED, PREDICTED, SHAPES = "combined", "adapted", "predicted", "shapes"  # from default searches
FOUND = "found"  # a path among scored ones
RANDOM_PATHS, TRUTHS = 20, 60
SEEDS = range(3)

Study = dict[str, Any]


def lines(study: Study) -> Iterator[str]:
    """Markdown; a table without data is left out."""
    parts = (
        _learning(study["learning"]),
        _tuning(study.get("tuning", [])),
        reliabilities({**study.get("pilot", {}), "truth": study["truth"]}),
        _rankings(study),
        _between(_of_seeds(study["scores"], "default")),
        _verdict(study),
        _noise(study),
    )
    tables = ["\n".join(part) for part in parts]
    yield "\n\n".join(table for table in tables if table)


def _learning(found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    if any(found.values()):
        yield "| arm | top-1 of the best path with the supernet's weights, seeds 0, 1, 2 | mean |\n|---|---|---|"
        for arm, top1 in found.items():
            if top1:
                yield f"| {arm} | {', '.join(f'{each:.1f}' for each in top1)} % | {fmean(top1):.1f} % |"


def _tuning(trials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if trials:
        yield "| settings | processor time, s | best path, mean probability on held images |\n|---|---|---|"
        yield from (f"| {each['settings']} | {each['s']:.0f} | {each['held_prob']:.1f} % |" for each in trials)


def reliabilities(truths: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """How well the seeds of recipes agree, on the paths that have as many seeds as any."""
    yield "| recipe | paths | seeds | mean | sd between paths | sd of a seed | share of the path | tau of two seeds |"
    yield f"|{'---|' * 8}"
    for name, truth in truths.items():
        most = max(map(len, truth.values()), default=0)
        several = {path: runs for path, runs in truth.items() if len(runs) == most}
        if most > 1 and len(several) > 2:
            found = reliability(several)
            within = fmean(stdev(runs) ** 2 for runs in several.values())
            between = max(0.0, stdev(map(fmean, several.values())) ** 2 - within / most)
            share = between / (between + within)
            cells = f"{fmean(map(fmean, several.values())):.1f} | {between**0.5:.1f} | {within**0.5:.1f}"
            yield f"| {name} | {len(several)} | {most} | {cells} | {share:.2f} | {found.seed_tau:.2f} |"


def _rankings(study: Study) -> Iterator[str]:
    """FLOPs, parameters and supernets against the truth."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    if len(truth) < 3:
        return
    costs = _costs(truth)
    names = dict.fromkeys(name.rsplit("_s", 1)[0] for name, scores in study["scores"].items() if scores)
    arms = {arm: _of_seeds(study["scores"], arm) for arm in names}
    yield "| what ranks | seeds | tau | less that of FLOPs | less that of `default` | top-1 of the found path |"
    yield f"|{'---|' * 6}"
    for name, values in costs.items():
        yield f"| {name} | | {_shown(agreement(values, truth).kendall)} | | | |"
    for arm, scores in arms.items():
        if scores:
            gains = [_shown(tau_gain(scores, [costs["FLOPs"]], truth))]
            gains += [
                _shown(tau_gain(scores, arms["default"], truth)) if arm != "default" and "default" in arms else ""
            ]
            found = [each["top1"] for each in _of_seeds(study["found"], arm) if "top1" in each]
            top1 = f"{fmean(found):.1f} %" if found else ""
            yield f"| {arm} | {len(scores)} | {_shown(_mean_tau(scores, truth))} | {' | '.join(gains)} | {top1} |"


def _between(supernets: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """How well the supernets of two seeds agree on random paths."""
    paths = [{name: score for name, score in each.items() if name != FOUND} for each in supernets]
    taus = [agreement(one, other, resamples=0).kendall.value for one, other in combinations(paths, 2)]
    if taus:
        yield f"Tau between the scores of two `default` supernets: {', '.join(f'{tau:.2f}' for tau in taus)}."


def _mean_tau(scores: Sequence[Mapping[str, float]], truth: Mapping[str, float]) -> Interval:
    """Of all seeds, on the same resamples of paths: half of what scores gain over themselves turned round."""
    turned = [{name: -score for name, score in each.items()} for each in scores]
    gain = tau_gain(scores, turned, truth)
    return Interval(*(each / 2 for each in (gain.value, gain.low, gain.high, gain.error)))


def _of_seeds(values: Mapping[str, Any], arm: str) -> list[Any]:
    return [values[name] for seed in SEEDS if values.get(name := f"{arm}_s{seed}")]


def cost_of(path: CreamPath) -> Cost:
    """Of a path of the small space, on blends of two garments."""
    return path_cost(path, 16, num_classes=45, in_channels=1, space=load(SearchConfig, SMALL).SPACE)


def _costs(names: Iterable[str]) -> dict[str, dict[str, float]]:
    budget, pool = load(SearchConfig, SMALL).budget(), read_paths(POOL)
    paths = {name: pool[name].path for name in names}
    return {
        "FLOPs": {name: budget.mflops(path) for name, path in paths.items()},
        "params": {name: float(cost_of(path).params) for name, path in paths.items()},
    }


def _verdict(study: Study) -> Iterator[str]:
    """The paths that were found, between random ones."""
    truth = study["truth"]
    others = list(truth.values())[:RANDOM_PATHS]
    if len(others) < RANDOM_PATHS:
        return
    costs = _costs(truth)["FLOPs"]
    ends = {"cheapest of 60": min(costs, key=costs.__getitem__), "dearest of 60": max(costs, key=costs.__getitem__)}
    yield "| path | M FLOPs | trainings | top-1 alone | better than, of 20 random ones | less their median |"
    yield f"|{'---|' * 6}"
    for arm in ("default", *PICKS):
        found = [each for each in _of_seeds(study["found"], arm) if len(each["alone"]) == len(SEEDS)]
        for number, each in enumerate(found):
            yield _place(f"{arm}, search {number}", each["mflops"], each["alone"], others)
        if found:
            gain = gain_over_median([each["alone"] for each in found], others)
            runs = [run for each in found for run in each["alone"]]
            yield _place(f"**{arm}, all**", fmean(each["mflops"] for each in found), runs, others, _shown(gain))
    for name, path in ends.items():
        yield _place(name, costs[path], truth[path], others)
    middle = median(map(fmean, others))
    trained = " to ".join(str(number) for number in sorted({min(map(len, others)), max(map(len, others))}))
    yield f"| median of 20 random ones | | {trained} each | {middle:.2f} % | | |"


def _place(name: str, mflops: float, runs: Sequence[float], others: Sequence[Sequence[float]], gain: str = "") -> str:
    beaten = sum(fmean(runs) > fmean(other) for other in others)
    return f"| {name} | {mflops:.3f} | {len(runs)} | {fmean(runs):.2f} % | {beaten} | {gain} |"


def gain_over_median(found: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> Interval:
    """The mean of found paths less the median of others, by the means of their trainings.

    Args:
        found, others: the accuracies of each path's trainings. Paths are resampled, and the trainings of each path.
    """
    rng = np.random.default_rng(0)

    def resampled(paths: Sequence[Sequence[float]]) -> list[float]:
        return [float(rng.choice(paths[i], len(paths[i])).mean()) for i in rng.integers(len(paths), size=len(paths))]

    draws = [fmean(resampled(found)) - median(resampled(others)) for _ in range(2000)]
    return interval_of(fmean(map(fmean, found)) - median(map(fmean, others)), np.array(draws))


def _noise(study: Study) -> Iterator[str]:
    """Whether a found path is worth what its score promises: its truth less what random paths of its score have."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    surplus = []
    for scores, found in zip(_of_seeds(study["scores"], "default"), _of_seeds(study["found"], "default"), strict=False):
        if found["alone"] and len(truth) >= TRUTHS:
            slope, shift = np.polyfit([scores[name] for name in truth], list(truth.values()), 1)
            best = max(score for name, score in scores.items() if name != FOUND)
            surplus.append((scores[FOUND], fmean(found["alone"]), slope * scores[FOUND] + shift, best))
    if surplus:
        yield "| search | score of the found path | best of 140 random scores | its truth | what its score promised |"
        yield "|---|---|---|---|---|"
        for number, (scored, alone, promised, best) in enumerate(surplus):
            yield f"| {number} | {scored:.1f} % | {best:.1f} % | {alone:.2f} % | {promised:.2f} % |"


def _shown(found: Interval) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
