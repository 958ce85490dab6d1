"""A public table with the supernets' scores of its networks, and the values by which rules rank them."""

import csv
from collections.abc import Hashable, Iterator, Mapping
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np

from fewshot_nas.ranking.baselines import everything, plain_tau
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import features, standardised, weights
from fewshot_nas.ranking.predictor import Estimate
from fewshot_nas.ranking.ranker import log_odds, partly_smoothed, percent, smooth
from fewshot_nas.ranking.truth import open_truth
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.scores import LEADING
from fewshot_nas.space.pool import all_archs
from studies.cifar10_truths.baselines import FULL, SLICED, read_baselines
from studies.cifar10_truths.run import HERE, SAMPLE, SCORES, at_hand, digest, read_scores, space_of

SEEDS = 3
FILES = {
    "channel_resnet": "channel_bench_resnet_half.json",
    "channel_mobilenet": "channel_bench_mobilenet_half.json",
    "macro": "nas_bench_macro_half.json",
}
PUBLISHED = {
    "channel_resnet": "Results_ResNet.json",
    "channel_mobilenet": "Results_MobileNet.json",
    "macro": "nas-bench-macro_cifar10.json",
}
KINDS = ("top1", "prob", "likelihood")  # in the order of the files of scores
CONSTANTS = (0.0, 0.1, 0.3, 0.5, 1.0)
NASWOT_WEIGHTS = (0.0, 0.5, 1.0)
# The kind of score, smoothed; so many standard deviations of the log multiply-adds; and, beside their sum, of NASWOT.
Rule = tuple[str, float, float]
RULES: list[Rule] = list(product(KINDS, CONSTANTS, NASWOT_WEIGHTS))
JUDGED = {"channel_resnet": "all_default", "channel_mobilenet": "all_default", "macro": "all_sandwich"}
RULED = ("scores_0", "rule_0", "rule_30")  # columns of predictions that are no arms
PREDICTIONS = HERE / "predictions"


def half(table: str, directory: Path) -> Path:
    """The file with the half of a table that was at hand; cut from the published one, if only that is there."""
    path = directory / FILES[table]
    if not path.exists():
        whole = read_json(directory / PUBLISHED[table])
        write_json(path, {key: whole[key] for key in at_hand(table) if key in whole})
    return path


class Bed:
    """A public table, the supernets' scores of its keys, and what is known of all keys of the space."""

    def __init__(self, table: str, directory: Path) -> None:
        space = space_of(table)
        self.table, self.judged = table, f"{JUDGED[table]}_0"
        self.truth = open_truth(f"{table}={half(table, directory)}")
        archs = {space.encode(arch): arch for arch in all_archs(space)}
        self.keys = list(archs)
        self.described = features(space, archs.values(), num_classes=10)
        self.weights = weights(space)
        row = {key: number for number, key in enumerate(self.keys)}
        self.rows = np.array([row[key] for key in self.truth.keys])  # of the truth's networks among all keys
        place: dict[Hashable, int] = {}
        networks = (self.truth.network(key) for key in self.keys)
        self.same = np.array([place.setdefault(each, len(place)) for each in networks])  # the number of a key's network
        self.scores = {arm: self._scores(path, row) for arm, path in self._files()}
        committed = read_predictions(table)
        self.kept = {name: each for name, each in committed.items() if name not in {*self.scores, *RULED}}
        self.scores |= {name: self._kept(each) for name, each in self.kept.items()}
        self.seeds = [arm for seed in range(SEEDS) if (arm := f"{JUDGED[table]}_{seed}") in self.scores]
        names = (table, table + SLICED, table + FULL)
        self.untrained, self.sliced, self.full = (self._untrained(name, row) for name in names)

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(SCORES.glob(f"{self.table}_*.jsonl")):
            yield path.stem.removeprefix(f"{self.table}_"), path

    def _scores(self, path: Path, row: Mapping[str, int]) -> dict[str, Floats]:
        found = {kind: np.full(len(self.keys), np.nan) for kind in KINDS}
        for key, values in read_scores(path):
            for kind, value in zip(KINDS, values, strict=True):
                found[kind][row[key]] = value
        return found

    def _untrained(self, table: str, row: Mapping[str, int]) -> dict[str, Floats]:
        """Scores of untrained networks by name, nan where there is none."""
        found: dict[str, Floats] = {}
        for key, values in read_baselines(table):
            for name, value in values.items():
                found.setdefault(name, np.full(len(self.keys), np.nan))[row[key]] = value
        return found

    def _kept(self, odds: Floats) -> dict[str, Floats]:
        """What the committed predictions still know of an arm whose scores are gone: its mean probabilities."""
        found = {kind: np.full(len(self.keys), np.nan) for kind in KINDS}
        scored = self.rows
        if self.table == "channel_resnet":  # the others were predicted from these
            scored = scored[self.first(SAMPLE)]
        found["prob"][scored] = percent(odds[scored])
        return found

    def of_networks(self, values: Floats) -> Floats:
        """For each key the mean over all keys of its network that have a value; nan if none has one."""
        known = ~np.isnan(values)
        sums, counts = (np.bincount(self.same, each) for each in (np.where(known, values, 0), known))
        means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return np.asarray(means[self.same])

    def of_truth(self, values: Floats) -> Floats:
        """The same of the truth's networks, in the truth's order."""
        return self.of_networks(values)[self.rows]

    def first(self, count: int) -> list[int]:
        """The numbers of the truth's networks that come first by the digest of their keys."""
        return sorted(range(len(self.truth.keys)), key=lambda number: digest(self.truth.keys[number]))[:count]

    def agreement(self, arm: str) -> float:
        """Tau of an arm's likelihoods and NASWOT, both smoothed, over the truth's networks; no truth is looked at."""
        scores, untrained = map(self.of_truth, (self.smoothed(arm, LEADING)[1].value, self.naswot))
        return plain_tau(scores, untrained, everything(len(self.rows)))

    @cached_property
    def naswot(self) -> Floats:
        """NASWOT of untrained networks, as `smoothed_naswot` has it."""
        return self.smoothed_naswot(self.untrained)

    def smoothed_naswot(self, untrained: Mapping[str, Floats]) -> Floats:
        """NASWOT of `untrained`, `sliced` or `full`, smoothed to all keys, standardised."""
        return standardised(smooth(self.described, untrained["naswot"]).value)

    @property
    def log_macs(self) -> Floats:
        """Of all keys."""
        return np.asarray(self.described[:, -2])

    @cache  # noqa: B019 - a bed lives as long as the process
    def smoothed(self, arm: str, kind: str) -> tuple[Floats, Estimate]:
        """Scores in log odds, nan where there is none, and the smoothed scores of all keys."""
        raw = self.raw(arm, kind)
        return raw, smooth(self.described, raw)

    def raw(self, arm: str, kind: str) -> Floats:
        """An arm's scores in log odds, nan where there is none."""
        return log_odds(self.scores[arm][kind])

    def ruled(self, arm: str, rule: Rule, untrained: Floats | None = None) -> Floats:
        """The values by which a rule ranks all keys.

        Args:
            untrained: what takes the place of `naswot`.
        """
        kind, macs, naswot = rule
        total = standardised(partly_smoothed(*self.smoothed(arm, kind))) + macs * standardised(self.log_macs)
        return standardised(total) + naswot * (self.naswot if untrained is None else untrained)


def read_predictions(table: str) -> dict[str, Floats]:
    """The committed columns of a table for all keys, log odds but for the rules; empty if there are none."""
    path = PREDICTIONS / f"{table}.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "key"}
