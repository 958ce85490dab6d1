"""Training a supernet phase: rates of its groups, a ranking of the truth after each epoch, and the chosen epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.distributed import World, fail_together
from fewshot_nas.evaluation.executors import executor_for
from fewshot_nas.evaluation.inputs import Accuracy, Inputs, guessing
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS, Scorer
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.correlation import FEWEST, correlate, proxies
from fewshot_nas.ranking.interval import merit
from fewshot_nas.records.journal import Record
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.scores import LEADING, TITLES, leading
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.space import Arch, Options
from fewshot_nas.space.split import Rule, Split
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Task

LOGGED = ("top1", "prob", "likelihood")
RULE = "the latest epoch whose tau by {} is within one standard error of the largest"
RULE_WITHOUT_TRUTH = "the last epoch, because no tau is known"
Multipliers = Sequence[Sequence[float]]  # by place (the head comes last), by group

# The factors of the public few-shot recipe: number of groups -> (stage, group) -> factor; group -1 is the last.
_TABLE: Mapping[int, Mapping[tuple[int, int], float]] = {
    2: {(0, -1): 2, (1, -1): 5, (2, -1): 6, (3, -1): 6},
    3: {(1, 0): 1 / 4, (2, 0): 1 / 5, (3, 0): 1 / 5},
    4: {(1, 0): 1 / 3, (2, 0): 1 / 4, (3, 0): 1 / 4},
    5: {(1, 0): 1 / 2, (2, 0): 1 / 3, (3, 0): 1 / 3},
    6: {(2, 0): 1 / 2, (3, 0): 1 / 2},
}


@dataclass(frozen=True)
class Candidate:
    """An epoch with its tau and tau's standard error; both are nan if there is no ground truth.

    Attributes:
        metric: what its archs are best ranked by, which the tau is of.
    """

    epoch: int
    tau: float
    error: float
    metric: str = LEADING


@dataclass(frozen=True)
class Validation:
    """How a supernet is measured, after every `every` epochs and after the last one.

    Attributes:
        truth: stand-alone accuracies; may be empty.
        directory: of the phase, with the checkpoints of the candidates.
        kept: number of candidates that stay there.
    """

    inputs: Inputs
    truth: Mapping[str, Entry]
    directory: PhaseDirectory
    kept: int
    every: int
    epochs: int

    def due(self, epoch: int) -> bool:
        return (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs


@dataclass(kw_only=True)
class SupernetTask(Task[Supernet, SupernetStep]):
    """One phase.

    Attributes:
        options: those that are drawn, at each slot.
    """

    world: World
    options: Options
    validation: Validation
    candidates: list[Candidate] = field(default_factory=list)

    def end_epoch(self, epoch: int) -> Record:
        """Rank the ground truth's archs, and keep this epoch's weights if they may be chosen."""
        if not self.validation.due(epoch):
            return {}
        space, truth = self.network.space, self.validation.truth
        archs = {end: space.extreme(self.options, largest=end == "largest") for end in ("largest", "smallest")}
        archs |= {arch_id: entry.arch for arch_id, entry in truth.items()}
        record: Record = {**by_metric(shared_scores(self.network, archs, self.validation.inputs, self.world))}
        tau, error = float("nan"), float("nan")
        metric = leading(record["top1"][each] for each in truth or archs)
        record |= {"guessing": guessing(self.validation.inputs.labels), "metric": metric}
        if len(truth) >= FEWEST:
            accuracy = {arch_id: entry.acc for arch_id, entry in truth.items()}
            ranking = correlate(record[metric], accuracy)
            record |= {"n": ranking.n, "tau": asdict(ranking.kendall), "spearman": asdict(ranking.spearman)}
            record |= {"pearson": asdict(ranking.pearson), "proxies": self._proxies(accuracy)}
            tau, error = ranking.kendall.value, ranking.kendall.error
        self._enter(Candidate(epoch, tau, error, metric))
        return record

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write a supernet file with the whole state, then delete checkpoints that are no longer candidates."""
        more = {"optimizer": self.optimizer.state_dict(), "candidates": [asdict(each) for each in self.candidates]}
        save_supernet(path, self.network, {**more, **state})
        self._remove_others()

    def restore(self, content: Mapping[str, Any]) -> None:
        self.network.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.candidates = [Candidate(**each) for each in content["candidates"]]

    def chosen(self) -> Candidate:
        """The epoch that becomes the phase's supernet."""
        return choose(self.candidates)

    def file_of(self, candidate: Candidate) -> Path:
        return self.validation.directory.candidate(candidate.tau, candidate.epoch)

    def _proxies(self, accuracy: Mapping[str, float]) -> dict[str, float]:
        """The tau of the proxies, which need no training."""
        free = proxies(
            self.network.space,
            {arch_id: entry.arch for arch_id, entry in self.validation.truth.items()},
            num_classes=self.network.num_classes,
        )
        return {name: correlate(score, accuracy, resamples=0).kendall.value for name, score in free.items()}

    def _enter(self, candidate: Candidate) -> None:
        self.candidates = keep([*self.candidates, candidate], self.validation.kept)
        with fail_together(self.world):
            if self.world.is_rank0 and candidate in self.candidates:
                more = {"epoch": candidate.epoch, "tau": candidate.tau}
                save_supernet(self.file_of(candidate), self.network, more)

    def _remove_others(self) -> None:
        """Delete checkpoints that are no longer candidates; only after a state without them is on disk."""
        kept = {self.file_of(each) for each in self.candidates}
        for path in self.validation.directory.candidates():
            if path not in kept:
                path.unlink()


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Choose by `RULE`, or the latest epoch if no tau is known.

    Only taus by the metric of the latest epoch are compared.
    """
    alike = _alike(candidates)
    best = max(alike, key=_merit)
    margin = 0.0 if math.isnan(best.error) else best.error
    return max((each for each in alike if merit(each.tau) >= merit(best.tau) - margin), key=_epoch)


def rule(chosen: Candidate) -> str:
    """The rule by which `choose` chose this candidate, as text."""
    return RULE_WITHOUT_TRUTH if math.isnan(chosen.tau) else RULE.format(TITLES[chosen.metric])


def keep(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The chosen candidate, the best, and the next best by tau: `count` candidates, but at least these two.

    Only an epoch after the best one can be chosen later, so no candidate that may be needed is lost.
    """
    kept = [choose(candidates)]
    alike = _alike(candidates)
    for each in sorted(candidates, key=lambda each: (each in alike, _merit(each)), reverse=True):
        if each not in kept and len(kept) < max(count, 2):
            kept.append(each)
    return sorted(kept, key=_epoch)


def _alike(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whose tau is by the same metric as that of the latest one."""
    metric = max(candidates, key=_epoch).metric
    return [each for each in candidates if each.metric == metric]


def _merit(candidate: Candidate) -> tuple[float, int]:
    return merit(candidate.tau), candidate.epoch


def _epoch(candidate: Candidate) -> int:
    return candidate.epoch


def shared_scores(supernet: Supernet, archs: Mapping[str, Arch], inputs: Inputs, world: World) -> dict[str, Accuracy]:
    """Score archs on all processes; every process gets all scores."""
    each_process = -(-len(archs) // world.size)  # small enough units, so that every process has one
    scorer = Scorer(supernet, inputs, executor_for(world), unit_networks=min(UNIT_NETWORKS, each_process))
    return dict(zip(archs, scorer.scores(list(archs.values())), strict=True))


Scores = dict[str, dict[str, float]]  # by metric, then by the names of archs, in percent


def by_metric(found: Mapping[str, Accuracy]) -> Scores:
    """The scores that a log has of archs."""
    return {metric: {name: getattr(each, metric) for name, each in found.items()} for metric in LOGGED}


def multipliers(split: Split, options: Options, kind: Literal["rule", "table", "none"]) -> Multipliers:
    """The learning-rate factors of the groups of each place, and of the head's.

    `rule` takes the inverse of the probability that a drawn arch uses the group, so that all groups
    move equally far, scaled so that the mean over draws is 1. A group that no drawn arch uses has
    factor 1. `table` takes the factors of the public recipe.

    Args:
        options: those that are drawn, at each slot.

    Raises:
        InputError: `table` is asked for a split that is not by width, or for a space without four stages.
    """
    if kind == "rule":
        return [_inverse(_probabilities(rule, options)) for rule in split.rules]
    factors = [[1.0] * rule.size for rule in split.rules]
    if kind == "table":
        if split.by_width is None or split.space.stages != 4:
            raise InputError(f"lr_multipliers=table has no values for split {split.name}, expected rule or none")
        stages = [*(place.stage for place in split.space.places), 3]  # the head is split like the last stage
        for (stage, group), factor in _TABLE.get(split.by_width, {}).items():
            for number in (number for number, each in enumerate(stages) if each == stage):
                factors[number][group] = factor
    return factors


def parameter_groups(supernet: Supernet, factors: Multipliers, weight_decay: float) -> list[dict[str, object]]:
    """The parameter groups of a supernet, one for each pair of factor and weight decay; vectors have no decay."""
    sorted_out: dict[tuple[float, float], list[nn.Parameter]] = {}
    for place, group in (*supernet.split.homes, *supernet.split.heads):
        factor = factors[place][group]
        for parameter in supernet.stored((place, group)).parameters():
            decay = weight_decay if parameter.dim() > 1 else 0.0
            sorted_out.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in sorted_out.items()
    ]


def _probabilities(rule: Rule, options: Options) -> list[Fraction]:
    """The probability of each group at a place, over all options that are drawn."""
    reached = [rule.groups[key] for key in product(*(options[slot] for slot in rule.reads))]
    return [Fraction(reached.count(group), len(reached)) for group in range(rule.size)]


def _inverse(probabilities: Sequence[Fraction]) -> list[float]:
    reached = sum(each > 0 for each in probabilities)
    return [float(1 / (reached * each)) if each else 1.0 for each in probabilities]
