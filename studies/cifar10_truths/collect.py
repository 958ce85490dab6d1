"""The study's numbers: what its supernets are worth, arms against each other, the rule, and the ranker with 30 truths.

    python -m studies.cifar10_truths.collect DIR     scores/ -> predictions, results.json

DIR has the public tables as published, or the half that was at hand, by the names in `bed.py`.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_nas.config import load_config
from fewshot_nas.ranking.baselines import plain_tau
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.ranker import MACS_WEIGHT, UNTRAINED_WEIGHT, partly_smoothed
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.scores import LEADING
from fewshot_nas.training.draws import NoEnds, OutsEnds, RandomArchs, Sampler
from studies.cifar10_truths.bed import FILES, PREDICTIONS, RULES, Bed, Rule, read_predictions
from studies.cifar10_truths.compare import against, agreements, by_images, by_surface, of_arms, of_recipes, slopes
from studies.cifar10_truths.judging import QUARTER, groups_of, judgements, orders, over_counts, paired
from studies.cifar10_truths.run import CONFIG, images_of, settings_of
from studies.cifar10_truths.table import (
    BESIDE,
    BOTH,
    ELSEWHERE,
    FULL_WIDTHS,
    OF_SEEDS,
    PARTS,
    RESULTS,
    RULE,
    TRUTHS,
    recipe_of,
)
from studies.cifar10_truths.with_truths import both, evidence, predicted, ranker_gains

SIZES = (10, TRUTHS, 100)  # truths that the ranker gets
BY_DEFAULT: Rule = (LEADING, MACS_WEIGHT, 0.0)  # how `rank` ranks without options
ALLOWED = {"rule": False, "rule with NASWOT": True}  # whether a rule may use untrained networks
UNTRAINED_ALONE = "untrained, naswot, smoothed"
STEPS = 300  # whose subnets are counted for the cost of a training


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
    elsewhere = {f"{name}{ELSEWHERE}": chosen(others, untrained=may) for name, may in ALLOWED.items()}
    ruled = rankings_of(bed, rules, elsewhere)
    judged = judgements(bed, ruled | {QUARTER: bed.log_macs})
    bench = judged["rule"].values()  # all of them rank all networks, so they were judged together
    kept = {name: each for name, each in before.get("rankings", {}).items() if name.partition(", ")[0] in bed.kept}
    rankings = of_arms(bed) | kept | {name: orders(judged[name], name) for name in ruled}
    arms = sorted(name.rpartition(", ")[0] for name in rankings if name.endswith(", prob"))
    alone = bed.truth.images * float(np.mean(bed.truth.counts["macs"]))
    columns = predictions_of(bed, rules)
    write_predictions(bed, columns)
    by_scores, beside = (bed.of_networks(ruled[name]) for name in elsewhere)
    known = {"scores": evidence(bed, bed.judged, elsewhere[RULE]), BOTH: both(beside, by_scores)}
    return {
        "judged": bed.judged,
        "elsewhere": elsewhere,
        "networks": len(bed.rows),
        "rankings": rankings,
        "against": {
            name: each
            for name, each in before.get("against", {}).items()
            if name.partition(" instead of ")[0] in bed.kept
        }
        | against(bed)
        | against_rules(bed, ruled),
        "by_images": by_images(bed),
        "agreement": agreements(bed),
        "recipes": {arm: each for arm, each in before.get("recipes", {}).items() if arm in bed.kept}
        | of_recipes(bed, elsewhere),
        "by_surface": by_surface(bed),
        "ranker": {str(size): ranker_gains(bed, known, size) for size in SIZES},
        "counts": {
            name: {part: each[part] for part in PARTS}
            for name, each in {**bench["counts"], QUARTER: bench["predicted"][QUARTER]}.items()
        },
        "over_counts": over_counts(bed, ruled[RULE]),
        "ridge": {str(size): pair for size, pair in judged["rule"].ridge.items()},
        "ceiling": judged["rule"].ceiling,
        "truths": [bed.truth.keys[number] for number in bed.first(TRUTHS)],
        "slopes": dict(before.get("slopes", {})) | slopes(bed),
        "cost": {arm: training_cost(bed.table, recipe_of(arm)) / alone for arm in arms},
    }


def rankings_of(bed: Bed, rules: Mapping[str, Rule], elsewhere: Mapping[str, Rule]) -> dict[str, Floats]:
    """The values of all keys by name: by the rules, as `rank` ranks, and by untrained networks, also of full widths."""
    every = {**rules, **elsewhere, "rank": BY_DEFAULT}
    found = {name: bed.ruled(bed.judged, rule) for name, rule in every.items()} | of_seeds(bed, elsewhere)
    scores, full = bed.ruled(bed.judged, (LEADING, 0.0, 0.0)), bed.smoothed_naswot(bed.full)
    found["rank --untrained"] = scores + UNTRAINED_WEIGHT * bed.smoothed_naswot(bed.sliced)
    found[UNTRAINED_ALONE] = bed.naswot
    found[f"{UNTRAINED_ALONE}{FULL_WIDTHS}"] = full
    found[f"{BESIDE}{FULL_WIDTHS}"] = bed.ruled(bed.judged, elsewhere[BESIDE], full)
    return found


def against_rules(bed: Bed, ruled: Mapping[str, Floats]) -> dict[str, Any]:
    """All rankings against the rule; with untrained networks against these alone; and those of full widths."""
    pairs = [(name, "rule") for name in ruled if name != "rule"]
    pairs += [(BESIDE, UNTRAINED_ALONE), *((f"{name}{FULL_WIDTHS}", name) for name in (UNTRAINED_ALONE, BESIDE))]
    return {f"{one} instead of {other}": paired(bed, ruled[one], ruled[other]) for one, other in pairs}


def of_seeds(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    """The mean of the judged arm's seeds by each rule, if there are several."""
    found: dict[str, Floats] = {}
    for name, rule in rules.items() if len(bed.seeds) > 1 else ():
        each = [standardised(bed.ruled(arm, rule)) for arm in bed.seeds]
        found[f"{name}, mean of {len(bed.seeds)}{OF_SEEDS}"] = np.mean(each, axis=0)
    return found


def merit(bed: Bed, rule: Rule) -> float:
    """Tau plus tau at equal cost, over all networks of the half: what a rule is chosen by."""
    values, groups = bed.of_truth(bed.ruled(bed.judged, rule)), groups_of(bed.truth.counts["macs"])
    return sum(plain_tau(values, bed.truth.accuracy, each) for each in groups.values())


def chosen(beds: Sequence[Bed], *, untrained: bool) -> Rule:
    """The best rule on these tables.

    Args:
        untrained: it may use scores of untrained networks.
    """
    rules = [rule for rule in RULES if untrained or not rule[2]]
    return max(rules, key=lambda rule: sum(merit(bed, rule) for bed in beds))


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


def predictions_of(bed: Bed, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    """Columns for all keys: the rule by scores, with NASWOT, and with 30 truths; each arm, smoothed where unscored.

    The 30 are the first by the digest of their keys. All keys of a network have the same value.
    """
    columns, every = read_predictions(bed.table), np.arange(len(bed.keys))
    ruled = (bed.of_networks(bed.ruled(bed.judged, rules[name])) for name in ALLOWED)
    columns["scores_0"], columns["rule_0"] = ruled
    columns["rule_30"] = predicted(bed, both(columns["rule_0"], columns["scores_0"]), bed.first(TRUTHS), every)
    for name in bed.scores:
        if name not in bed.kept:
            scored = bed.raw(name, "prob")
            columns[name] = np.where(np.isnan(scored), partly_smoothed(*bed.smoothed(name, "prob")), scored)
    return {name: bed.of_networks(values) for name, values in columns.items()}


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
