"""The tables of docs/cream_study.md, from what studies/cream/run.py has collected."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from scipy.stats import t

from fewshot_nas.cli.settings import load
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.ranking.correlation import correlate, interval_of
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.space.block import Cost
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.space import Arch
from studies.common import FILES, ROOT
from studies.seeds import reliability, tau_gain

HOME = FILES / "cream_small"
SMALL = ROOT / "configs" / "cream_small.yml"
POOL = HOME / "pool.json"
PICKS = COMBINED, ADAPTED, PREDICTED, SHAPES = "combined", "adapted", "predicted", "shapes"  # from default searches
FOUND = "found"  # a path among scored ones
RANDOM_PATHS, TRUTHS = 20, 60
SEEDS = range(3)
CLASSES = 45  # pairs of garments

Study = dict[str, Any]


def lines(study: Study) -> Iterator[str]:
    """Markdown; a table without data is left out."""
    parts = (
        _learning(study["learning"]),
        _tuning(study.get("tuning", [])),
        reliabilities({**study.get("pilot", {}), "truth": study["truth"]}),
        _rankings(study),
        _between(_of_seeds(study["scores"], "default"), study["truth"]),
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
    """How well the seeds of recipes agree: the first two of all paths that have two, and so on."""
    yield "| recipe | paths | seeds | mean | sd between paths | sd of a seed | share | tau of two seeds | ceiling |"
    yield f"|{'---|' * 9}"
    for name, truth in truths.items():
        for seeds in sorted({len(runs) for runs in truth.values()} - {1}):
            several = {path: runs[:seeds] for path, runs in truth.items() if len(runs) >= seeds}
            if len(several) > 2:
                yield f"| {name} | {len(several)} | {seeds} | {_reliability(several)} |"


def _reliability(runs: Mapping[str, Sequence[float]]) -> str:
    means = [fmean(each) for each in runs.values()]
    within = fmean(stdev(each) ** 2 for each in runs.values())
    seeds = len(next(iter(runs.values())))
    between = max(0.0, stdev(means) ** 2 - within / seeds)
    share = between / (between + within)
    cells = f"{fmean(means):.1f} | {between**0.5:.1f} | {within**0.5:.1f} | {share:.2f}"
    found = reliability(runs)
    return f"{cells} | {found.seed_tau:.2f} | {found.ceiling:.2f}"


def _rankings(study: Study) -> Iterator[str]:
    """FLOPs, parameters and supernets against the truth."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    if len(truth) < 3:
        return
    costs = _costs(truth)
    names = dict.fromkeys(name.rsplit("_s", 1)[0] for name, scores in study["scores"].items() if scores)
    arms = {arm: _of_seeds(study["scores"], arm) for arm in names}
    yield "| what ranks | seeds | tau | less that of FLOPs | less that of `default` | found path, supernet's weights |"
    yield f"|{'---|' * 6}"
    for name, values in costs.items():
        yield f"| {name} | | {_shown(correlate(values, truth).kendall)} | | | |"
    for arm, scores in arms.items():
        if scores:
            gains = [_shown(tau_gain(scores, [costs["FLOPs"]], truth))]
            gains += [
                _shown(tau_gain(scores, arms["default"], truth)) if arm != "default" and "default" in arms else ""
            ]
            found = [each["top1"] for each in _of_seeds(study["found"], arm) if "top1" in each]
            top1 = f"{fmean(found):.1f} %" if found else ""
            yield f"| {arm} | {len(scores)} | {_shown(_mean_tau(scores, truth))} | {' | '.join(gains)} | {top1} |"


def _between(supernets: Sequence[Mapping[str, float]], names: Iterable[str]) -> Iterator[str]:
    """How well the supernets of two seeds agree on the paths that have a truth."""
    paths = [{name: each[name] for name in names} for each in supernets]
    taus = [correlate(one, other, resamples=0).kendall.value for one, other in combinations(paths, 2)]
    if taus:
        yield f"Tau between the scores of two `default` supernets: {', '.join(f'{tau:.2f}' for tau in taus)}."


def _mean_tau(scores: Sequence[Mapping[str, float]], truth: Mapping[str, float]) -> Interval:
    """Of all seeds, on the same resamples of paths: half of what scores gain over themselves turned round."""
    turned = [{name: -score for name, score in each.items()} for each in scores]
    gain = tau_gain(scores, turned, truth)
    return Interval(*(each / 2 for each in (gain.value, gain.low, gain.high, gain.error)))


def _by_seed(values: Mapping[str, Any], arm: str) -> dict[int, Any]:
    return {seed: each for seed in SEEDS if (each := values.get(f"{arm}_s{seed}"))}


def _of_seeds(values: Mapping[str, Any], arm: str) -> list[Any]:
    return list(_by_seed(values, arm).values())


def small_space() -> MBConvSpace:
    """Of the small space's paths, on blends of two garments."""
    return replace(load(SearchConfig, SMALL).budget().space, in_channels=1)


def cost_of(arch: Arch) -> Cost:
    """Of a path of the small space."""
    return small_space().cost(arch, num_classes=CLASSES)


def _costs(names: Iterable[str]) -> dict[str, dict[str, float]]:
    budget = load(SearchConfig, SMALL).budget()
    pool = read_arch_file(POOL, budget.space)
    paths = {name: pool[name].arch for name in names}
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
    line = np.polyfit([costs[name] for name in truth], [fmean(runs) for runs in truth.values()], 1)

    def placed(name: str, mflops: float, runs: Sequence[float], gains: str = "|") -> str:
        beaten = sum(fmean(runs) > fmean(other) for other in others)
        usual = f"{np.polyval(line, mflops):.2f} %"
        return f"| {name} | {mflops:.3f} | {len(runs)} | {fmean(runs):.2f} % | {usual} | {beaten} | {gains} |"

    yield "| path | M FLOPs | trainings | alone | random ones of its cost | beats, of 20 | less their median | by t |"
    yield f"|{'---|' * 8}"
    for arm in ("default", *PICKS):
        found = {n: each for n, each in _by_seed(study["found"], arm).items() if len(each["alone"]) == len(SEEDS)}
        for number, each in found.items():
            yield placed(f"{arm}, search {number}", each["mflops"], each["alone"])
        if len(found) > 1:
            alone = [each["alone"] for each in found.values()]
            gains = f"{_shown(gain_over_median(alone, others))} | {_shown(gain_by_t(alone, others))}"
            mflops, runs = fmean(each["mflops"] for each in found.values()), [run for runs in alone for run in runs]
            yield placed(f"**{arm}, all**", mflops, runs, gains)
    for name, pick in (("cheapest of 60", min), ("dearest of 60", max)):
        path = pick(costs, key=costs.__getitem__)
        yield placed(name, costs[path], truth[path])
    yield f"| median of 20 random ones | | | {median(map(fmean, others)):.2f} % | | | | |"


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


def gain_by_t(found: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> Interval:
    """The same with Welch's t interval, because resamples of two or three searches vary too little."""
    ours, theirs = [fmean(each) for each in found], np.array([fmean(each) for each in others])
    draws = np.random.default_rng(0).choice(theirs, (2000, len(theirs)))
    variances = stdev(ours) ** 2 / len(ours), float(np.median(draws, axis=1).var(ddof=1))
    freedoms = len(ours) - 1, len(theirs) - 1
    error = sum(variances) ** 0.5
    freedom = sum(variances) ** 2 / sum(each**2 / n for each, n in zip(variances, freedoms, strict=True))
    value, half = fmean(ours) - float(np.median(theirs)), float(t.ppf(0.975, freedom)) * error
    return Interval(value, value - half, value + half, error)


def _noise(study: Study) -> Iterator[str]:
    """Whether found paths are worth what their scores promise, by a line fitted to random paths."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    scored, found = _by_seed(study["scores"], "default"), _by_seed(study["found"], "default")
    rows = []
    for seed in scored:
        if found[seed]["alone"] and len(truth) >= TRUTHS:
            scores = np.array([scored[seed][name] for name in truth])
            slope, shift = np.polyfit(scores, list(truth.values()), 1)
            spread = float((np.array(list(truth.values())) - slope * scores - shift).std(ddof=2))
            promised, alone = slope * scored[seed][FOUND] + shift, fmean(found[seed]["alone"])
            cells = f"{scored[seed][FOUND]:.1f} % | {scores.max():.1f} % | {promised:.2f} % | {alone:.2f} %"
            rows.append(f"| {seed} | {cells} | {alone - promised:+.2f} | {spread:.2f} |")
    if rows:
        yield "| search | score of the found path | best of 60 random | promised | alone | difference | sd of random |"
        yield f"|{'---|' * 7}"
        yield from rows


def _shown(found: Interval) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
