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

from fewshot_nas.ranking.baselines import by_cost, everything, interval, plain_tau, resamples, taus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.judgement import Judgement, judge
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.ranker import log_odds, partly_smoothed, surplus
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.training.draws import NoEnds, OutsEnds, RandomArchs, Sampler
from studies.cifar10_truths.bed import FILES, KINDS, PREDICTIONS, RULES, TODAY, Bed, Rule, read_predictions
from studies.cifar10_truths.run import OWN, images_of, space_of
from studies.cifar10_truths.table import BOTH, RESULTS, SECOND, SECOND_WITH_NASWOT, TRUTHS

DRAWS, ASKED = 20, 2_000
_BY_RULE = ("rule", "rule of the other tables", "rule with NASWOT")
STEPS = 300  # whose subnets are counted for the cost of a training


def training_cost(table: str, name: str) -> float:
    """What an arm's training took: images times the multiply-adds of the subnets of a step, as a mean over steps."""
    space = space_of(table)
    options = tuple(slot.options for slot in space.slots)
    drawn = RandomArchs(space, 0, options)
    single = name.endswith("single")
    sampler = Sampler(drawn, NoEnds(space, 0, options), 1) if single else Sampler(drawn, OutsEnds(space, 0, options), 2)
    steps = [sum(space.cost(arch, num_classes=10).macs for arch in sampler.archs(step)) for step in range(STEPS)]
    return images_of(name) * float(np.mean(steps))


def merit(bed: Bed, arm: str, rule: Rule) -> float:
    """Tau plus tau at equal cost: what a rule is chosen by."""
    values, truth = bed.ranked(arm, rule)[bed.rows], bed.truth
    known = ~np.isnan(bed.scores[arm]["prob"][bed.rows])
    parts = (everything(int(known.sum())), by_cost(truth.counts["macs"][known]))
    return sum(plain_tau(values[known], truth.accuracy[known], groups) for groups in parts)


def chosen(beds: Sequence[Bed]) -> Rule:
    """The best rule on these tables."""
    return max(RULES, key=lambda rule: sum(merit(bed, bed.judged, rule) for bed in beds))


def judgements(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Judgement]:
    """Each ranking judged by all networks that it ranks, by name; those that rank the same ones are judged together."""
    alike: dict[bytes, dict[str, Floats]] = {}
    for name, values in rankings.items():
        alike.setdefault(np.isnan(values[bed.rows]).tobytes(), {})[name] = values[bed.rows]
    found = {name: each for group in alike.values() for each in [judge(group, bed.truth)] for name in group}
    return {name: found[name] for name in rankings}


def orders(found: Judgement, name: str) -> dict[str, Any]:
    """What is said of a ranking, for JSON."""
    verdict = found.values()["predicted"][name]
    return {part: verdict[part] for part in ("whole", "equal_cost", "regret")}


def paired(bed: Bed, one: Floats, other: Floats) -> dict[str, Any]:
    """The differences of two rankings' taus, whole and at equal cost, over the networks that both rank."""
    one, other, truth = one[bed.rows], other[bed.rows], bed.truth
    known = ~np.isnan(one + other)
    accuracy, drawn = truth.accuracy[known], resamples(int(known.sum()))
    found = {"networks": int(known.sum())}
    for name, groups in (("whole", everything(len(accuracy))), ("equal_cost", by_cost(truth.counts["macs"][known]))):
        found[name] = asdict(
            interval(taus(one[known], accuracy, groups, drawn) - taus(other[known], accuracy, groups, drawn))
        )
    return found


def evidence(bed: Bed, arm: str, rule: Rule) -> Floats:
    """What the ranker knows without truth: the rule with smoothing, and what smoothing took away. [keys, 2]"""
    kind, _, constant = rule
    return np.stack([bed.ranked(arm, (kind, True, constant)), surplus(*bed.smoothed(arm, kind))], axis=1)


def predicted(bed: Bed, known: Floats, truths: Sequence[int], wanted: NDArray[np.int64]) -> Floats:
    """Predictions for the wanted keys from the truths of some networks.

    Args:
        known: the evidence of all keys, without columns for none.
    """
    told = inputs(known, bed.described, bed.weights)
    return predict(told.of(bed.rows[truths]), log_odds(bed.truth.accuracy[truths]), told.of(wanted)).value


def ranker_gain(bed: Bed, scored: Floats) -> dict[str, Any]:
    """Taus of the ranker with 30 truths, with and without scores, and their difference, as means over draws.

    Args:
        scored: the evidence with scores, of all keys.
    """
    truth, columns = bed.truth, []
    for draw in range(DRAWS):
        order = np.random.default_rng([draw, TRUTHS]).permutation(len(bed.rows))
        asked = order[TRUTHS:][:ASKED]
        groups = by_cost(truth.counts["macs"][asked])
        pair = [predicted(bed, each, order[:TRUTHS], bed.rows[asked]) for each in (scored, scored[:, :0])]
        columns.append(
            [
                [plain_tau(each, truth.accuracy[asked], part) for part in (everything(len(asked)), groups)]
                for each in pair
            ]
        )
    each = np.array(columns)  # [draws, with and without, whole and at equal cost]
    off = each[:, 0] - each[:, 1]
    error = 1.96 * off.std(0, ddof=1) / len(off) ** 0.5
    return {
        "with": each[:, 0].mean(0).tolist(),
        "without": each[:, 1].mean(0).tolist(),
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
    digits = standardised(np.log([[int(digit) for digit in bed.truth.keys[number]] for number in known]))
    values = {"truth": bed.truth.accuracy[known]}
    values |= {name: log_odds(each["prob"][bed.rows[known]]) for name, each in bed.scores.items()}
    fitted = {name: np.linalg.lstsq(digits, standardised(each), rcond=None)[0] for name, each in values.items()}
    return {name: each.tolist() for name, each in fitted.items() if np.isfinite(each).all()}


def collect(directory: Path) -> None:
    """Compute all numbers, and write them and the predictions.

    A table whose judged arm has no scores at hand keeps what follows from the rule; then all tables keep the rule.
    """
    beds = [Bed(table, directory) for table in FILES]
    ruled = [bed for bed in beds if bed.judged in bed.scores and bed.judged not in bed.kept]
    found: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"rule": None, "tables": {}}
    anew = found["tables"].keys() <= {bed.table for bed in ruled}
    rule: Rule = chosen(ruled) if anew else tuple(found["rule"])
    found["rule"] = rule
    for bed in beds:
        table = dict(found["tables"].get(bed.table, {}))
        rankings = dict(table.pop("rankings", {}))
        if bed in ruled:
            others = [each for each in ruled if each is not bed]
            elsewhere = chosen(others) if others else TODAY if anew else rule
            judged, more = by_rule(bed, rule, elsewhere)
            rankings |= judged
            table |= more
        columns = predictions_of(bed, rule)
        kept = {name: each for name, each in rankings.items() if name.partition(", ")[0] in {*bed.kept, *_BY_RULE}}
        seeds = of_seeds(bed, rule, columns["scores_0"])
        rankings = of_arms(bed) | kept | ordered(bed, {"rule with NASWOT": columns["rule_0"]} | seeds)
        arms = sorted(name.rpartition(", ")[0] for name in rankings if name.endswith(", prob"))
        alone = bed.truth.images * float(np.mean(bed.truth.counts["macs"]))
        cost = {arm: training_cost(bed.table, arm.rpartition("_")[0]) / alone for arm in arms}
        found["tables"][bed.table] = table | {
            "networks": len(bed.rows),
            "rankings": rankings,
            "against": dict(table.get("against", {}))
            | against(bed)
            | {
                f"{name} instead of rule": paired(bed, each, columns["scores_0"])
                for name, each in {"rule with NASWOT": columns["rule_0"], **seeds}.items()
            },
            "ranker_with_naswot": ranker_gain(bed, _both(columns)),
            "slopes": slopes(bed),
            "cost": cost,
        }
        write_predictions(bed, columns)
    write_json(RESULTS, found)


def of_seeds(bed: Bed, rule: Rule, first: Floats) -> dict[str, Floats]:
    """The rule by the judged arm's second seed, if it was trained, with NASWOT too, and by the mean of both seeds.

    Args:
        first: the rule by the first seed, of all keys.
    """
    arm = f"{bed.judged.removesuffix('_0')}_1"
    if arm not in bed.scores or arm in bed.kept:
        return {}
    kind, _, constant = rule
    second = bed.ranked(arm, (kind, True, constant))
    mean = standardised(first) + standardised(second)
    return {SECOND: second, BOTH: mean, SECOND_WITH_NASWOT: bed.with_naswot(second)}


def of_arms(bed: Bed) -> dict[str, Any]:
    """Each arm whose scores are at hand, by each of its scores; and networks that nothing has trained."""
    names = [name for name in bed.scores if name not in bed.kept]
    found = {f"{name}, {kind}": bed.ranked(name, (kind, False, 0.0)) for name in names for kind in KINDS}
    return ordered(bed, found | {f"untrained, {name}": values for name, values in bed.untrained.items()})


def ordered(bed: Bed, rankings: Mapping[str, Floats]) -> dict[str, Any]:
    """What is said of each ranking."""
    return {name: orders(each, name) for name, each in judgements(bed, rankings).items()}


def against(bed: Bed) -> dict[str, Any]:
    """Each arm against the judged one of its seed, training on against a split, own classifiers against shared ones.

    Two arms whose scores are both gone are not compared again: their columns have predictions where they had no score.
    """
    base = bed.judged.removesuffix("_0")
    pairs = {}
    for name in bed.scores:
        judged = f"{base}_{name.rpartition('_')[2]}"
        if name not in {bed.judged, judged}:
            pairs[f"{name} instead of {judged}"] = (name, judged, "prob")
        elif name != bed.judged:
            pairs[f"{name} instead of {bed.judged}"] = (name, bed.judged, "prob")
    for name in bed.scores:
        if (on := name.replace("choice_", "on_").replace("split_", "on_")) != name:
            pairs[f"{on} instead of {name}"] = (on, name, "prob")
        if (shared := name.removeprefix(OWN)) != name:
            pairs |= {f"{name} instead of {shared}, {kind}": (name, shared, kind) for kind in KINDS}
    return {
        title: paired(bed, *(bed.ranked(each, (kind, False, 0.0)) for each in (one, other)))
        for title, (one, other, kind) in pairs.items()
        if {one, other} <= bed.scores.keys() and not {one, other} <= bed.kept.keys()
        if kind == "prob" or not {one, other} & bed.kept.keys()
    }


def by_rule(bed: Bed, rule: Rule, elsewhere: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rankings by the rule and by that of the other tables; and the ranker, counts, ridge and ceiling."""
    rankings = {"rule": bed.ranked(bed.judged, rule), "rule of the other tables": bed.ranked(bed.judged, elsewhere)}
    judged = judgements(bed, rankings)
    counted = judged["rule"]
    counts = {
        name: {"whole": asdict(each.whole.tau), "equal_cost": asdict(each.equal_cost.tau)}
        for name, each in counted.counts.items()
    }
    return {name: orders(each, name) for name, each in judged.items()}, {
        "judged": bed.judged,
        "elsewhere": elsewhere,
        "ranker": ranker_gain(bed, evidence(bed, bed.judged, rule)),
        "counts": counts,
        "ridge": {str(size): pair for size, pair in counted.ridge.items()},
        "ceiling": counted.ceiling,
        "truths": [bed.truth.keys[number] for number in bed.first(TRUTHS)],
    }


def predictions_of(bed: Bed, rule: Rule) -> dict[str, Floats]:
    """Columns for all keys: the rule by scores, with NASWOT, and with 30 truths; each arm, smoothed where unscored.

    The 30 are the first by the digest of their keys.
    """
    columns, every = read_predictions(bed.table), np.arange(len(bed.keys))
    if bed.judged not in bed.kept:
        raw = bed.ranked(bed.judged, rule)
        columns["scores_0"] = np.where(np.isnan(raw), bed.ranked(bed.judged, (rule[0], True, rule[2])), raw)
    columns["rule_0"] = bed.with_naswot(columns["scores_0"])
    columns["rule_30"] = predicted(bed, _both(columns), bed.first(TRUTHS), every)
    for name in bed.scores:
        if name not in bed.kept:
            scored = log_odds(bed.scores[name]["prob"])
            columns[name] = np.where(np.isnan(scored), partly_smoothed(*bed.smoothed(name, "prob")), scored)
    return columns


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
