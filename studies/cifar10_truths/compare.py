"""Supernets against each other: recipes, seeds, splits, kinds of score, and what they make of widths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from fewshot_nas.ranking.baselines import everything, plain_tau
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.ranker import log_odds, smooth
from fewshot_nas.results.scores import LEADING
from studies.cifar10_truths.bed import JUDGED, KINDS, Bed, Rule
from studies.cifar10_truths.judging import ordered, paired, taus_of
from studies.cifar10_truths.run import ALL, EPOCH, FEW, ONCE_ARM, OWN, sample

LATE = "mean of the last epochs, "  # before the name of an arm


def supernets(bed: Bed) -> list[str]:
    """The names of those whose scores are at hand."""
    return [name for name in bed.scores if name not in bed.kept and name != ONCE_ARM]


def of_arms(bed: Bed) -> dict[str, Any]:
    """Each supernet whose scores are at hand, by each of its scores; and networks that nothing has trained."""
    names = supernets(bed)
    found = {f"{name}, {kind}": bed.raw(name, kind) for name in names for kind in KINDS}
    return ordered(bed, found | {f"untrained, {name}": values for name, values in bed.untrained.items()})


def of_recipes(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, dict[str, Any]]:
    """Each arm that was scored on all images: its taus by the rules, and its gain over what it changes.

    That is training on for a split, the supernet that training on goes on from, and else the judged one of its seed;
    nothing for this one itself. Over what the rule has beside scores: NASWOT, else multiply-adds.

    Args:
        rules: those that the other tables have chosen, by name.
    """
    found = {}
    arms = [name for name in bed.scores if name.startswith(ALL) and name not in bed.kept]
    late = sorted({f"{LATE}{EPOCH.sub('', name)}" for name in arms if EPOCH.search(name)})
    for arm in (*arms, *late):
        ruled, other = {name: _ruled(bed, arm, rule) for name, rule in rules.items()}, _changed_by(bed, arm)
        found[arm] = taus_of(bed, ruled)
        for name, values in ruled.items():
            alone = bed.naswot if rules[name][2] else bed.log_macs
            found[arm][name]["over_its_part"] = paired(bed, values, alone)
        for name, values in ruled.items() if other != arm else ():
            found[arm][name] |= {"over": other, "gain": paired(bed, values, bed.ruled(other, rules[name]))}
    return found


def _changed_by(bed: Bed, arm: str) -> str:
    """The supernet that an arm's recipe is a change of."""
    name, seed = arm.rsplit("_", 1)
    on, before = arm.replace("split_", "on_"), name.partition("-")[2]
    if on != arm and on in bed.scores:
        return on
    return f"{ALL}{before}_{seed}" if before else f"{JUDGED[bed.table]}_{seed}"


def _ruled(bed: Bed, arm: str, rule: Rule) -> Floats:
    """The values of an arm by a rule; of `LATE`, their mean over the epochs of a supernet that are at hand."""
    last = arm.removeprefix(LATE)
    epochs = [name for name in bed.scores if EPOCH.sub("", name) == last] if last != arm else [arm]
    return np.asarray(np.mean([standardised(bed.ruled(name, rule)) for name in epochs], axis=0))


def against(bed: Bed) -> dict[str, Any]:
    """Each arm against the judged one of its seed, training on against a split, own classifiers against shared ones.

    Two arms whose scores are both gone are not compared again: their columns have predictions where they had no score.
    """
    base = bed.judged.removeprefix(ALL).rpartition("_")[0]
    pairs = {}
    for name in bed.scores:
        one_seed = f"{base}_{name.rpartition('_')[2]}"
        other = one_seed if name != one_seed else f"{base}_0"
        if name != other and not name.startswith(ALL):
            pairs[f"{name} instead of {other}"] = (name, other, "prob")
        if (on := name.replace("choice_", "on_").replace("split_", "on_")) != name:
            if name.startswith(ALL):
                pairs |= {f"{on} instead of {name}, {kind}": (on, name, kind) for kind in KINDS}
            else:
                pairs[f"{on} instead of {name}"] = (on, name, "prob")
        if (shared := name.removeprefix(OWN)) != name:
            pairs |= {f"{name} instead of {shared}, {kind}": (name, shared, kind) for kind in KINDS}
    return {
        title: paired(bed, bed.raw(one, kind), bed.raw(other, kind))
        for title, (one, other, kind) in pairs.items()
        if {one, other} <= bed.scores.keys() and not {one, other} <= bed.kept.keys()
        if kind == "prob" or not {one, other} & bed.kept.keys()
    }


def agreements(bed: Bed) -> dict[str, dict[str, float]]:
    """How far the smoothed likelihoods of each supernet at hand agree with NASWOT and with costs; and how they rank."""
    named = {name: bed.smoothed(name, LEADING)[1].value for name in supernets(bed)}
    macs, taus = bed.truth.counts["macs"], taus_of(bed, named)
    return {
        name: {
            "naswot": bed.agreement(name),
            "macs": plain_tau(bed.of_truth(each), macs, everything(len(macs))),
            **taus[name],
        }
        for name, each in named.items()
    }


def by_images(bed: Bed) -> dict[str, Any]:
    """What all images to rank on give instead of 1,000 of them, by each kind of score of the judged supernet.

    On the same networks; and smoothed to all networks of the half, from a quarter of those that have scores on 1,000
    images, which costs about as much, beside the same few networks on 1,000 images.
    """
    fewer = bed.judged.removeprefix(ALL)
    if fewer not in bed.scores or fewer in bed.kept:
        return {}
    known = [bed.keys[row] for row in np.flatnonzero(~np.isnan(bed.scores[bed.judged]["prob"]))]
    few, found = np.isin(bed.keys, sample(known, FEW // 2)), {}
    for kind in KINDS:
        costly, cheap = bed.raw(bed.judged, kind), bed.raw(fewer, kind)
        parts = {"many on 1,000": cheap}
        parts |= {"few on 1,000": np.where(few, cheap, np.nan), "few on all": np.where(few, costly, np.nan)}
        smoothed = {name: smooth(bed.described, values).value for name, values in parts.items()}
        found[kind] = {
            "same": paired(bed, costly, cheap),
            "smoothed": taus_of(bed, smoothed),
            "gain": paired(bed, smoothed["few on all"], smoothed["many on 1,000"]),
        }
    return found


def by_surface(bed: Bed) -> dict[str, Any]:
    """What a linear smoother gives instead of a quadratic one, by each kind of score of the judged supernet."""
    found = {}
    for kind in KINDS:
        raw, linear = bed.smoothed(bed.judged, kind)
        known = ~np.isnan(raw)
        model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), BayesianRidge())
        quadratic = model.fit(bed.described[known], raw[known]).predict(bed.described)
        ranked = {"linear": linear.value, "quadratic": quadratic}
        found[kind] = taus_of(bed, ranked) | {"gain": paired(bed, linear.value, quadratic)}
    return found


def slopes(bed: Bed) -> dict[str, list[float]]:
    """Standardised slopes of truth and score on the logarithms of a key's digits: what each makes of each width.

    Empty for macro networks, whose digits are no widths.
    """
    if bed.table == "macro":
        return {}
    known = np.flatnonzero(~np.isnan(bed.scores[bed.judged]["prob"][bed.rows]))
    digits = standardised(np.log([[*map(int, key)] for key in np.array(bed.truth.keys)[known]]))
    values = {"truth": bed.truth.accuracy[known]}
    values |= {name: log_odds(each["prob"][bed.rows[known]]) for name, each in bed.scores.items()}
    fitted = {name: np.linalg.lstsq(digits, standardised(each), rcond=None)[0] for name, each in values.items()}
    return {name: each.tolist() for name, each in fitted.items() if np.isfinite(each).all()}
