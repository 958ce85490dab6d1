"""The study's numbers: what its supernets are worth, arms against each other, the rule, and the ranker with 30 truths.

    python -m studies.cifar10_truths.collect DIR     scores/ -> predictions, results.json

DIR has the public tables as published, or the half that was at hand, by the names in `bed.py`.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from fewshot_nas.config import load_config
from fewshot_nas.ranking.baselines import by_cost, everything, interval, plain_tau, resamples, taus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.judgement import Judgement, judge
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.ranker import MACS_WEIGHT, UNTRAINED_WEIGHT, log_odds, partly_smoothed, smooth, surplus
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.scores import LEADING
from fewshot_nas.training.draws import NoEnds, OutsEnds, RandomArchs, Sampler
from studies.cifar10_truths.bed import FILES, JUDGED, KINDS, PREDICTIONS, RULES, Bed, Rule, read_predictions
from studies.cifar10_truths.run import ALL, CONFIG, EPOCH, FEW, ONCE_ARM, OWN, images_of, sample, settings_of
from studies.cifar10_truths.table import BOTH, FULL_WIDTHS, OF_SEEDS, RESULTS, TRUTHS

DRAWS, ASKED = 20, 2_000
SIZES = (10, TRUTHS, 100)  # truths that the ranker gets
LATE = "mean of the last epochs, "  # before the name of an arm
BY_DEFAULT: Rule = (LEADING, MACS_WEIGHT, 0.0)  # how `rank` ranks without options
ALLOWED = {"rule": False, "rule with NASWOT": True}  # whether a rule may use untrained networks
STEPS = 300  # whose subnets are counted for the cost of a training


def training_cost(table: str, name: str) -> float:
    """What an arm's training took: images times the multiply-adds of the subnets of a step, as a mean over steps."""
    settings = settings_of(name)
    words = [f"{key}={value}" for key, value in settings.items() if key.startswith("space.")]
    space = load_config(CONFIG, [f"space.preset={table}_quarter", *words]).space.build()
    options, drawn = space.all_options, RandomArchs(space, 0, space.all_options)
    ends = NoEnds if "training.extremes" in settings else OutsEnds
    sampler = Sampler(drawn, ends(space, 0, options), int(settings.get("training.random_subnets", "2")))
    steps = [sum(space.cost(arch, num_classes=10).macs for arch in sampler.archs(step)) for step in range(STEPS)]
    return images_of(name) * float(np.mean(steps))


def merit(bed: Bed, rule: Rule) -> float:
    """Tau plus tau at equal cost, over all networks of the half: what a rule is chosen by."""
    values, truth = bed.of_truth(bed.ruled(bed.judged, rule)), bed.truth
    parts = (everything(len(values)), by_cost(truth.counts["macs"]))
    return sum(plain_tau(values, truth.accuracy, groups) for groups in parts)


def chosen(beds: Sequence[Bed], *, untrained: bool) -> Rule:
    """The best rule on these tables.

    Args:
        untrained: it may use scores of untrained networks.
    """
    rules = [rule for rule in RULES if untrained or not rule[2]]
    return max(rules, key=lambda rule: sum(merit(bed, rule) for bed in beds))


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


def paired(bed: Bed, one: Floats, other: Floats) -> dict[str, Any]:
    """The differences of two rankings' taus, whole and at equal cost, over the networks that both rank."""
    one, other, truth = bed.of_truth(one), bed.of_truth(other), bed.truth
    known = ~np.isnan(one + other)
    accuracy, drawn = truth.accuracy[known], resamples(int(known.sum()))
    found = {"networks": int(known.sum())}
    for name, groups in (("whole", everything(len(accuracy))), ("equal_cost", by_cost(truth.counts["macs"][known]))):
        found[name] = asdict(
            interval(taus(one[known], accuracy, groups, drawn) - taus(other[known], accuracy, groups, drawn))
        )
    return found


def evidence(bed: Bed, arm: str, rule: Rule) -> Floats:
    """What the ranker knows without truth: the rule, and what smoothing took away. [keys, 2]"""
    columns = (bed.ruled(arm, rule), surplus(*bed.smoothed(arm, rule[0])))
    return np.stack([bed.of_networks(each) for each in columns], axis=1)


def predicted(bed: Bed, known: Floats, truths: Sequence[int], wanted: NDArray[np.int64]) -> Floats:
    """Predictions for the wanted keys from the truths of some networks.

    Args:
        known: the evidence of all keys, without columns for none.
    """
    told = inputs(known, bed.described, bed.weights)
    return predict(told.of(bed.rows[truths]), log_odds(bed.truth.accuracy[truths]), told.of(wanted)).value


def ranker_gains(bed: Bed, known: Mapping[str, Floats], truths: int) -> dict[str, Any]:
    """Taus of the ranker with some truths, with and without scores, and their differences, as means over draws.

    Args:
        known: by name, the evidence with scores, of all keys.
    """
    truth, columns = bed.truth, []
    evidences = [next(iter(known.values()))[:, :0], *known.values()]  # the first without scores
    for draw in range(DRAWS):
        order = np.random.default_rng([draw, truths]).permutation(len(bed.rows))
        asked = order[truths:][:ASKED]
        groups = (everything(len(asked)), by_cost(truth.counts["macs"][asked]))
        ranked = (predicted(bed, each, order[:truths], bed.rows[asked]) for each in evidences)
        columns.append([[plain_tau(each, truth.accuracy[asked], part) for part in groups] for each in ranked])
    without, *each = np.moveaxis(np.array(columns), 1, 0)  # [draws, whole and at equal cost] of each evidence
    return {name: _gain(taus_of, without) for name, taus_of in zip(known, each, strict=True)}


def _gain(scored: Floats, without: Floats) -> dict[str, Any]:
    """Taus of two rankings in the same draws, [draws, whole and at equal cost], and their difference."""
    off = scored - without
    error = 1.96 * off.std(0, ddof=1) / len(off) ** 0.5
    return {
        "with": scored.mean(0).tolist(),
        "without": without.mean(0).tolist(),
        "gain": off.mean(0).tolist(),
        "half_width": error.tolist(),
    }


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


def collect(directory: Path) -> None:
    """Compute all numbers, and write them and the predictions. Arms whose scores are gone keep their numbers."""
    beds = [Bed(table, directory) for table in FILES]
    rules = {name: chosen(beds, untrained=untrained) for name, untrained in ALLOWED.items()}
    before: dict[str, Any] = read_json(RESULTS)["tables"] if RESULTS.exists() else {}
    tables = {bed.table: of_table(bed, beds, rules, before.get(bed.table, {})) for bed in beds}
    write_json(RESULTS, {"rules": rules, "tables": tables})


def of_table(bed: Bed, beds: Sequence[Bed], rules: Mapping[str, Rule], before: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers of a table; writes its predictions.

    Args:
        rules: those that all tables have chosen, by name.
        before: its numbers so far.
    """
    others = [each for each in beds if each is not bed]
    elsewhere = {f"{name} of the other tables": chosen(others, untrained=may) for name, may in ALLOWED.items()}
    every = {**rules, **elsewhere, "rank": BY_DEFAULT}
    ruled = {name: bed.ruled(bed.judged, rule) for name, rule in every.items()} | of_seeds(bed, rules)
    scores = bed.ruled(bed.judged, (LEADING, 0.0, 0.0))
    ruled["rank --untrained"] = scores + UNTRAINED_WEIGHT * bed.smoothed_naswot(bed.sliced)
    with_scores, untrained = "rule with NASWOT of the other tables", "untrained, naswot, smoothed"
    ruled[untrained] = bed.naswot
    full = bed.smoothed_naswot(bed.full)
    ruled[f"{untrained}{FULL_WIDTHS}"] = full
    ruled[f"{with_scores}{FULL_WIDTHS}"] = bed.ruled(bed.judged, elsewhere[with_scores], full)
    judged = judgements(bed, ruled)
    kept = {name: each for name, each in before.get("rankings", {}).items() if name.partition(", ")[0] in bed.kept}
    rankings = of_arms(bed) | kept | {name: orders(each, name) for name, each in judged.items()}
    arms = sorted(name.rpartition(", ")[0] for name in rankings if name.endswith(", prob"))
    alone = bed.truth.images * float(np.mean(bed.truth.counts["macs"]))
    columns = predictions_of(bed, rules)
    write_predictions(bed, columns)
    return {
        "judged": bed.judged,
        "elsewhere": elsewhere,
        "networks": len(bed.rows),
        "rankings": rankings,
        "against": {name: each for name, each in before.get("against", {}).items() if "rule" not in name}
        | against(bed)
        | {f"{name} instead of rule": paired(bed, ruled[name], ruled["rule"]) for name in ruled if name != "rule"}
        | {f"{with_scores} instead of {untrained}": paired(bed, ruled[with_scores], ruled[untrained])}
        | {
            f"{name}{FULL_WIDTHS} instead of {name}": paired(bed, ruled[f"{name}{FULL_WIDTHS}"], ruled[name])
            for name in (untrained, with_scores)
        },
        "by_images": by_images(bed),
        "agreement": agreements(bed),
        "recipes": of_recipes(bed, elsewhere),
        "by_surface": by_surface(bed),
        "ranker": {
            str(size): ranker_gains(
                bed, {"scores": evidence(bed, bed.judged, rules["rule"]), BOTH: _both(columns)}, size
            )
            for size in SIZES
        },
        "counts": {
            name: {"whole": asdict(each.whole.tau), "equal_cost": asdict(each.equal_cost.tau)}
            for name, each in judged["rule"].counts.items()
        },
        "ridge": {str(size): pair for size, pair in judged["rule"].ridge.items()},
        "ceiling": judged["rule"].ceiling,
        "truths": [bed.truth.keys[number] for number in bed.first(TRUTHS)],
        "slopes": dict(before.get("slopes", {})) | slopes(bed),
        "cost": {arm: training_cost(bed.table, arm.rpartition("_")[0]) / alone for arm in arms},
    }


def of_seeds(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    """The rules by each seed of the judged arm, and by their mean, if there are several."""
    found: dict[str, Floats] = {}
    for name, rule in rules.items() if len(bed.seeds) > 1 else ():
        found |= {f"{name}, seed {arm[-1]}": bed.ruled(arm, rule) for arm in bed.seeds}
        each = [standardised(bed.ruled(arm, rule)) for arm in bed.seeds]
        found[f"{name}, mean of {len(bed.seeds)}{OF_SEEDS}"] = np.mean(each, axis=0)
    return found


def of_recipes(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, dict[str, Any]]:
    """Each arm that was scored as the judged one: its taus by the rules, and the gain over the default of its seed.

    A split is compared with training on instead.

    Args:
        rules: those that the other tables have chosen, by name.
    """
    found = {}
    late = sorted({f"{LATE}{EPOCH.sub('', name)}" for name in bed.scores if EPOCH.search(name)})
    arms = [name for name in bed.scores if name.startswith(ALL) and name not in bed.seeds]
    for arm in (*arms, *late):
        default, on = f"{JUDGED[bed.table]}_{arm[-1]}", arm.replace("split_", "on_")
        other = on if on != arm and on in bed.scores else default
        ruled = {name: (_ruled(bed, arm, rule), bed.ruled(other, rule)) for name, rule in rules.items()}
        taus_of = _taus_of(bed, {name: ours for name, (ours, _) in ruled.items()})
        found[arm] = {
            name: {**taus_of[name], "over": other, "gain": paired(bed, *both)} for name, both in ruled.items()
        }
    return found


def _ruled(bed: Bed, arm: str, rule: Rule) -> Floats:
    """The values of an arm by a rule; of `LATE`, their mean over the epochs of a supernet that are at hand."""
    last = arm.removeprefix(LATE)
    epochs = [name for name in bed.scores if EPOCH.sub("", name) == last] if last != arm else [arm]
    return np.asarray(np.mean([standardised(bed.ruled(name, rule)) for name in epochs], axis=0))


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
            "smoothed": _taus_of(bed, smoothed),
            "gain": paired(bed, smoothed["few on all"], smoothed["many on 1,000"]),
        }
    return found


def agreements(bed: Bed) -> dict[str, dict[str, float]]:
    """How far the smoothed likelihoods of each supernet at hand agree with NASWOT and with costs; and how they rank."""
    named = {name: bed.smoothed(name, LEADING)[1].value for name in _supernets(bed)}
    macs, taus_of = bed.truth.counts["macs"], _taus_of(bed, named)
    return {
        name: {
            "naswot": bed.agreement(name),
            "macs": plain_tau(bed.of_truth(each), macs, everything(len(macs))),
            **taus_of[name],
        }
        for name, each in named.items()
    }


def by_surface(bed: Bed) -> dict[str, Any]:
    """What a linear smoother gives instead of a quadratic one, by each kind of score of the judged supernet."""
    found = {}
    for kind in KINDS:
        raw, linear = bed.smoothed(bed.judged, kind)
        known = ~np.isnan(raw)
        model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), BayesianRidge())
        quadratic = model.fit(bed.described[known], raw[known]).predict(bed.described)
        ranked = {"linear": linear.value, "quadratic": quadratic}
        found[kind] = _taus_of(bed, ranked) | {"gain": paired(bed, linear.value, quadratic)}
    return found


def _taus_of(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Any]:
    """The taus of each ranking, whole and at equal cost, without intervals."""
    return {
        name: {part: each[part]["tau"]["value"] for part in ("whole", "equal_cost")}
        for name, each in ordered(bed, rankings).items()
    }


def of_arms(bed: Bed) -> dict[str, Any]:
    """Each supernet whose scores are at hand, by each of its scores; and networks that nothing has trained."""
    names = _supernets(bed)
    found = {f"{name}, {kind}": bed.raw(name, kind) for name in names for kind in KINDS}
    return ordered(bed, found | {f"untrained, {name}": values for name, values in bed.untrained.items()})


def _supernets(bed: Bed) -> list[str]:
    return [name for name in bed.scores if name not in bed.kept and name != ONCE_ARM]


def ordered(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Any]:
    """What is said of each ranking."""
    return {name: orders(each, name) for name, each in judgements(bed, rankings).items()}


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


def predictions_of(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    """Columns for all keys: the rule by scores, with NASWOT, and with 30 truths; each arm, smoothed where unscored.

    The 30 are the first by the digest of their keys. All keys of a network have the same value.
    """
    columns, every = read_predictions(bed.table), np.arange(len(bed.keys))
    ruled = (bed.of_networks(bed.ruled(bed.judged, rules[name])) for name in ALLOWED)
    columns["scores_0"], columns["rule_0"] = ruled
    columns["rule_30"] = predicted(bed, _both(columns), bed.first(TRUTHS), every)
    for name in bed.scores:
        if name not in bed.kept:
            scored = bed.raw(name, "prob")
            columns[name] = np.where(np.isnan(scored), partly_smoothed(*bed.smoothed(name, "prob")), scored)
    return {name: bed.of_networks(values) for name, values in columns.items()}


def _both(columns: Mapping[str, Floats]) -> Floats:
    """What the ranker knows without truth: the rule with NASWOT, and the rule by scores. [keys, 2]"""
    return np.stack([columns["rule_0"], standardised(columns["scores_0"])], axis=1)


def write_predictions(bed: Bed, columns: Mapping[str, Floats]) -> None:
    """A row for every key."""
    PREDICTIONS.mkdir(exist_ok=True)
    with (PREDICTIONS / f"{bed.table}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", *columns])
        writer.writerows([key, *(f"{each[row]:.4f}" for each in columns.values())] for row, key in enumerate(bed.keys))


def main(argv: Sequence[str] | None = None) -> int:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truths", type=Path, metavar="DIR", help="directory of the public tables")
    collect(parser.parse_args(argv).truths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
