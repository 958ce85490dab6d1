"""How rankings of a table are judged, and compared with each other."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fewshot_nas.ranking.baselines import Groups, by_cost, everything, interval, plain_tau, resamples, taus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.judgement import Judgement, judge
from studies.cifar10_truths.bed import Bed
from studies.cifar10_truths.table import PARTS

QUARTER = "quarter_macs"  # multiply-adds of the networks that the supernets have


def groups_of(macs: Floats) -> dict[str, Groups]:
    """What a tau is of: all networks, and the classes of like cost.

    Args:
        macs: multiply-adds of the networks.
    """
    return {"whole": everything(len(macs)), "equal_cost": by_cost(macs)}


def judgements(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Judgement]:
    """Each ranking judged by all networks that it ranks, by name; those that rank the same ones are judged together."""
    alike: dict[bytes, dict[str, Floats]] = {}
    for name, values in rankings.items():
        judged = bed.of_truth(values)
        alike.setdefault(np.isnan(judged).tobytes(), {})[name] = judged
    found = {name: each for group in alike.values() for each in [judge(group, bed.truth)] for name in group}
    return {name: found[name] for name in rankings}


def orders(found: Judgement, name: str) -> dict[str, Any]:
    """What is said of a ranking, for JSON."""
    verdict = found.values()["predicted"][name]
    return {part: verdict[part] for part in ("whole", "equal_cost", "regret")}


def ordered(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Any]:
    """What is said of each ranking."""
    return {name: orders(each, name) for name, each in judgements(bed, rankings).items()}


def taus_of(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, dict[str, Any]]:
    """The taus of each ranking, whole and at equal cost, over the networks that it ranks."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in rankings.items():
        judged, truth = bed.of_truth(values), bed.truth
        known = ~np.isnan(judged)
        groups = groups_of(truth.counts["macs"][known])
        found[name] = {part: plain_tau(judged[known], truth.accuracy[known], each) for part, each in groups.items()}
    return found


def counted(bed: Bed) -> dict[str, Floats]:
    """Counts of all keys, nan where the truth has none: the table's, and the multiply-adds that the rules have."""
    found = {QUARTER: bed.log_macs}
    for name, values in bed.truth.counts.items():
        found[name] = np.full(len(bed.keys), np.nan)
        found[name][bed.rows] = values
    return found


def over_counts(bed: Bed, values: Floats) -> dict[str, dict[str, Any]]:
    """The best count, whole and at equal cost, and the gain of a ranking over it."""
    counts = counted(bed)
    taus, found = taus_of(bed, counts), {}
    for part in PARTS:
        best = max(counts, key=lambda name: taus[name][part])
        found[part] = {"count": best, "tau": taus[best][part], "gain": paired(bed, values, counts[best])[part]}
    return found


def paired(bed: Bed, one: Floats, other: Floats) -> dict[str, Any]:
    """The differences of two rankings' taus, whole and at equal cost, over the networks that both rank."""
    one, other, truth = bed.of_truth(one), bed.of_truth(other), bed.truth
    known = ~np.isnan(one + other)
    accuracy, drawn = truth.accuracy[known], resamples(int(known.sum()))
    found = {"networks": int(known.sum())}
    for name, groups in groups_of(truth.counts["macs"][known]).items():
        ours, theirs = (taus(each[known], accuracy, groups, drawn) for each in (one, other))
        found[name] = asdict(interval(ours - theirs))
    return found
