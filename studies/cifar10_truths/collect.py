"""The study's numbers: what its supernets are worth, arms against each other, the rule, and the ranker with 30 truths.

    python -m studies.cifar10_truths.collect DIR     scores under results/ -> predictions, results.json

DIR has the public tables as `FILES` names them.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.ranking.combination import Estimate, log_odds, partly_smoothed, percent, smooth, surplus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import features, standardised, weights
from fewshot_nas.ranking.judgement import Judgement, judge
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.strata import by_cost, everything, interval, plain_tau, resamples, taus
from fewshot_nas.ranking.truth import Truth, open_truth
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.draw import all_archs
from fewshot_nas.training.step import NoEnds, OutsEnds, RandomArchs, Sampler
from studies.cifar10_truths.run import HERE, SAMPLE, SCORES, digest, images_of, read_scores, space_of
from studies.cifar10_truths.table import RESULTS, TRUTHS

FILES = {
    "channel_resnet": "channel_bench_resnet_half.json",
    "channel_mobilenet": "channel_bench_mobilenet_half.json",
    "macro": "nas_bench_macro_half.json",
}
KINDS = ("top1", "prob", "likelihood")  # in the order of the files of scores
CONSTANTS = (0.0, 0.1, 0.3, 0.5, 1.0)
Rule = tuple[str, bool, float]  # kind of score, whether smoothed, standard deviations of the log multiply-adds
TODAY: Rule = ("prob", False, 0.0)
RULES: list[Rule] = list(product(KINDS, (False, True), CONSTANTS))
JUDGED = {"channel_resnet": "default", "channel_mobilenet": "default", "macro": "sandwich"}
DRAWS, ASKED = 20, 2_000
NOT_ARMS = ("key", "rule_0", "rule_30")  # of the columns of predictions
STEPS = 300  # whose subnets are counted for the cost of a training
PREDICTIONS = HERE / "predictions"


class Bed:
    """A public table, the supernets' scores of its keys, and what is known of all keys of the space."""

    def __init__(self, table: str, directory: Path) -> None:
        space = space_of(table)
        self.table, self.truth = table, open_truth(f"{table}={directory / FILES[table]}")
        archs = {space.encode(arch): arch for arch in all_archs(space)}
        self.keys = list(archs)
        self.described = features(space, archs.values(), num_classes=10)
        self.weights = weights(space)
        row = {key: number for number, key in enumerate(self.keys)}
        self.rows = np.array([row[key] for key in self.truth.keys])  # of the truth's networks among all keys
        self.scores = {arm: self._scores(path, row) for arm, path in self._files()}
        self.kept = {name: each for name, each in read_predictions(table).items() if name not in self.scores}
        self.scores |= {name: self._kept(each) for name, each in self.kept.items()}

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(SCORES.glob(f"{self.table}_*.jsonl")):
            yield path.stem.removeprefix(f"{self.table}_"), path

    def _scores(self, path: Path, row: Mapping[str, int]) -> dict[str, Floats]:
        found = {kind: np.full(len(self.keys), np.nan) for kind in KINDS}
        for key, values in read_scores(path):
            for kind, value in zip(KINDS, values, strict=True):
                found[kind][row[key]] = value
        return found

    def _kept(self, odds: Floats) -> dict[str, Floats]:
        """What the committed predictions still know of an arm whose scores are gone: its mean probabilities."""
        found = {kind: np.full(len(self.keys), np.nan) for kind in KINDS}
        scored = self.rows
        if self.table == "channel_resnet":  # the others were predicted from these
            scored = scored[sorted(range(len(scored)), key=lambda number: digest(self.truth.keys[number]))[:SAMPLE]]
        found["prob"][scored] = percent(odds[scored])
        return found

    @property
    def log_macs(self) -> Floats:
        """Of all keys."""
        return np.asarray(self.described[:, -2])

    @cache  # noqa: B019 - a bed lives as long as the process
    def smoothed(self, arm: str, kind: str) -> tuple[Floats, Estimate]:
        """Scores in log odds, nan where there is none, and the smoothed scores of all keys."""
        raw = log_odds(self.scores[arm][kind])
        return raw, smooth(self.described, raw)

    def ranked(self, arm: str, rule: Rule) -> Floats:
        """The values by which a rule ranks all keys; nan where it needs a score that there is not."""
        kind, is_smoothed, constant = rule
        values = partly_smoothed(*self.smoothed(arm, kind)) if is_smoothed else log_odds(self.scores[arm][kind])
        known = ~np.isnan(values)
        total = np.full(len(values), np.nan)
        total[known] = standardised(values[known]) + constant * standardised(self.log_macs[known])
        return total


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
    return max(RULES, key=lambda rule: sum(merit(bed, f"{JUDGED[bed.table]}_0", rule) for bed in beds))


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


def ranker_gain(bed: Bed, arm: str, rule: Rule) -> dict[str, Any]:
    """Taus of the ranker with 30 truths, with and without scores, and their difference, as means over draws."""
    truth, columns, scored = bed.truth, [], evidence(bed, arm, rule)
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


def slopes(bed: Bed, arm: str) -> dict[str, list[float]]:
    """Standardised slopes of truth and score on the logarithms of a key's digits: what each makes of each width.

    Empty for macro networks, whose digits are no widths.
    """
    if bed.table == "macro":
        return {}
    known = np.flatnonzero(~np.isnan(bed.scores[arm]["prob"][bed.rows]))
    digits = standardised(np.log([[int(digit) for digit in bed.truth.keys[number]] for number in known]))
    values = {"truth": bed.truth.accuracy[known]}
    values |= {name: log_odds(each["prob"][bed.rows[known]]) for name, each in bed.scores.items()}
    fitted = {name: np.linalg.lstsq(digits, standardised(each), rcond=None)[0] for name, each in values.items()}
    return {name: each.tolist() for name, each in fitted.items() if np.isfinite(each).all()}


def first_truths(truth: Truth) -> list[int]:
    """The networks whose truths `rule_30` knows: the first by the digest of their keys."""
    return sorted(range(len(truth.keys)), key=lambda number: digest(truth.keys[number]))[:TRUTHS]


def collect(directory: Path) -> None:
    """Compute all numbers, and write them and the predictions.

    Tables whose scores are not at hand keep their numbers, and then the rule stays too.
    """
    all_beds = [Bed(table, directory) for table in FILES]
    beds = [bed for bed in all_beds if f"{JUDGED[bed.table]}_0" in bed.scores]
    found: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"rule": None, "tables": {}}
    anew = found["tables"].keys() <= {bed.table for bed in beds}
    rule: Rule = chosen(beds) if anew else tuple(found["rule"])
    found["rule"] = rule
    for bed in beds:
        arm = f"{JUDGED[bed.table]}_0"
        others = [each for each in beds if each is not bed]
        elsewhere = chosen(others) if others else TODAY if anew else rule
        scored = [name for name in bed.scores if name not in bed.kept]
        rankings = {f"{name}, {kind}": bed.ranked(name, (kind, False, 0.0)) for name in scored for kind in KINDS}
        rankings |= {"rule": bed.ranked(arm, rule), "rule of the other tables": bed.ranked(arm, elsewhere)}
        judged = judgements(bed, rankings)
        arms = {
            name: paired(bed, bed.ranked(name, TODAY), bed.ranked(arm, TODAY)) for name in bed.scores if name != arm
        }
        for split, on in ((name, _trained_on(name)) for name in bed.scores):
            if on != split and on in bed.scores:
                arms[f"{on} instead of {split}"] = paired(bed, bed.ranked(on, TODAY), bed.ranked(split, TODAY))
        listed = first_truths(bed.truth)
        counted = judged["rule"]
        before = found["tables"].get(bed.table, {}).get("rankings", {})
        of_kept = {name: each for name, each in before.items() if name.partition(", ")[0] in bed.kept}
        found["tables"][bed.table] = {
            "judged": arm,
            "elsewhere": elsewhere,
            "networks": len(bed.rows),
            "rankings": of_kept | {name: orders(each, name) for name, each in judged.items()},
            "against": arms,
            "ranker": ranker_gain(bed, arm, rule),
            "counts": {
                name: {"whole": asdict(each.whole.tau), "equal_cost": asdict(each.equal_cost.tau)}
                for name, each in counted.counts.items()
            },
            "ridge": {str(size): pair for size, pair in counted.ridge.items()},
            "ceiling": counted.ceiling,
            "truths": [bed.truth.keys[number] for number in listed],
            "slopes": slopes(bed, arm),
        }
        write_predictions(bed, arm, rule, listed)
    for bed in all_beds:
        table = found["tables"][bed.table]
        alone = bed.truth.images * float(np.mean(bed.truth.counts["macs"]))
        arms = {name.partition(", ")[0] for name in table["rankings"]} - {"rule", "rule of the other tables"}
        table["cost"] = {arm: training_cost(bed.table, arm.rpartition("_")[0]) / alone for arm in sorted(arms)}
    write_json(RESULTS, found)


def _trained_on(arm: str) -> str:
    """The arm that trains on for as long as a split arm, without a split."""
    return arm.replace("choice_", "on_").replace("split_", "on_")


def write_predictions(bed: Bed, arm: str, rule: Rule, truths: Sequence[int]) -> None:
    """A row for every key: the rule with no truth and with 30, and each arm, smoothed where a key was not scored."""
    raw = bed.ranked(arm, rule)
    columns = {"rule_0": np.where(np.isnan(raw), bed.ranked(arm, (rule[0], True, rule[2])), raw)}
    columns["rule_30"] = predicted(bed, evidence(bed, arm, rule), truths, np.arange(len(bed.keys)))
    for name in bed.scores:
        scored = bed.kept.get(name, log_odds(bed.scores[name]["prob"]))
        columns[name] = np.where(np.isnan(scored), partly_smoothed(*bed.smoothed(name, "prob")), scored)
    PREDICTIONS.mkdir(exist_ok=True)
    with (PREDICTIONS / f"{bed.table}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", *columns])
        writer.writerows([key, *(f"{each[row]:.4f}" for each in columns.values())] for row, key in enumerate(bed.keys))


def read_predictions(table: str) -> dict[str, Floats]:
    """The committed columns of the arms of a table, log odds of all keys; empty if there are none."""
    path = PREDICTIONS / f"{table}.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name not in NOT_ARMS}


def main(argv: Sequence[str] | None = None) -> int:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truths", type=Path, metavar="DIR", help="directory of the public tables")
    collect(parser.parse_args(argv).truths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
