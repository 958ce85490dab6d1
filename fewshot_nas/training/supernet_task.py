"""Training a supernet phase: the ground truth is ranked after each epoch, and one epoch becomes its supernet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fewshot_nas.distributed import World, fail_together
from fewshot_nas.evaluation.executors import executor_for
from fewshot_nas.evaluation.inputs import Accuracy, Inputs, guessing
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS, Scorer
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.correlation import FEWEST, agreement, proxies
from fewshot_nas.ranking.interval import merit
from fewshot_nas.records.journal import Record
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.space import Arch, Options
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Task

LOGGED = ("top1", "prob")  # tau is measured by prob: on few images, accuracies have too many ties to choose an epoch
RULE = "the latest epoch whose tau by mean probability is within one standard error of the largest"
RULE_WITHOUT_TRUTH = "the last epoch, because no tau is known"


@dataclass(frozen=True)
class Candidate:
    """An epoch with its tau and tau's standard error; both are nan if there is no ground truth."""

    epoch: int
    tau: float
    error: float


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
        scores = shared_scores(self.network, archs, self.validation.inputs, self.world)
        record: Record = {metric: {key: getattr(each, metric) for key, each in scores.items()} for metric in LOGGED}
        tau, error = float("nan"), float("nan")
        record["guessing"] = guessing(self.validation.inputs.labels)
        if len(truth) >= FEWEST:
            record |= self._agreement(record["prob"])
            tau, error = record["tau"]["value"], record["tau"]["error"]
        self._enter(Candidate(epoch, tau, error))
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

    def _agreement(self, scores: Mapping[str, float]) -> Record:
        """Tau with its interval, and the tau of the proxies, which need no training."""
        truth = {arch_id: entry.acc for arch_id, entry in self.validation.truth.items()}
        ranking = agreement(scores, truth)
        free = proxies(
            self.network.space,
            {arch_id: entry.arch for arch_id, entry in self.validation.truth.items()},
            num_classes=self.network.num_classes,
        )
        record: Record = {"n": ranking.n, "tau": asdict(ranking.kendall)}
        record |= {"spearman": asdict(ranking.spearman), "pearson": asdict(ranking.pearson)}
        taus = {name: agreement(score, truth, resamples=0).kendall.value for name, score in free.items()}
        return {**record, "proxies": taus}

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
    """Choose by `RULE`, or the latest epoch if no tau is known."""
    best = max(candidates, key=_merit)
    margin = 0.0 if math.isnan(best.error) else best.error
    return max((each for each in candidates if merit(each.tau) >= merit(best.tau) - margin), key=_epoch)


def rule(chosen: Candidate) -> str:
    """The rule by which `choose` chose this candidate, as text."""
    return RULE_WITHOUT_TRUTH if math.isnan(chosen.tau) else RULE


def keep(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The chosen candidate, the best, and the next best by tau: `count` candidates, but at least these two.

    Only an epoch after the best one can be chosen later, so no candidate that may be needed is lost.
    """
    kept = [choose(candidates)]
    for each in sorted(candidates, key=_merit, reverse=True):
        if each not in kept and len(kept) < max(count, 2):
            kept.append(each)
    return sorted(kept, key=_epoch)


def _merit(candidate: Candidate) -> tuple[float, int]:
    return merit(candidate.tau), candidate.epoch


def _epoch(candidate: Candidate) -> int:
    return candidate.epoch


def shared_scores(supernet: Supernet, archs: Mapping[str, Arch], inputs: Inputs, world: World) -> dict[str, Accuracy]:
    """Score archs on all processes; every process gets all scores."""
    each_process = -(-len(archs) // world.size)  # small enough units, so that every process has one
    scorer = Scorer(supernet, inputs, executor_for(world), unit_networks=min(UNIT_NETWORKS, each_process))
    return dict(zip(archs, scorer.scores(list(archs.values())), strict=True))
