"""Training a supernet phase: sandwich steps, and a ranking of the ground-truth archs after each epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from fewshot_nas.distributed import World, gathered
from fewshot_nas.evaluation.engine import score
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import Accuracy
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.correlation import FEWEST, agreement, proxies
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.sampling import largest, smallest
from fewshot_nas.training.loop import Record
from fewshot_nas.training.prioritized import Prioritized
from fewshot_nas.training.sandwich import Regularization, Sampler, sandwich
from fewshot_nas.training.selection import Candidate, choose, keep

LOGGED = ("top1", "prob")  # tau is the latter's: accuracies on few images have too many ties to choose an epoch by


class Shelf(Protocol):
    """Where the checkpoints lie that may become the phase's supernet."""

    def candidate(self, tau: float, epoch: int) -> Path:
        """The name of one."""

    def candidates(self) -> list[Path]:
        """All that are there."""


@dataclass(frozen=True)
class Validation:
    """What a supernet is measured by after every `every` epochs, and after the last.

    Attributes:
        truth: stand-alone accuracy of archs; may be empty.
        kept: how many candidates stay on the shelf.
    """

    inputs: Inputs
    truth: Mapping[str, Entry]
    shelf: Shelf
    kept: int
    every: int
    epochs: int

    def due(self, epoch: int) -> bool:
        """Whether this epoch, counted from 0, is measured."""
        return (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs


@dataclass
class SupernetTask:
    """One phase, for `Loop`.

    Attributes:
        prioritized: who teaches; None leaves it to the largest, if `taught`.
        taught: whether anybody teaches; if not, all archs learn from the labels.
    """

    network: Supernet
    optimizer: torch.optim.Optimizer
    sampler: Sampler
    regularization: Regularization
    validation: Validation
    world: World
    precision: Literal["fp32", "bf16"] = "fp32"
    prioritized: Prioritized | None = None
    taught: bool = True
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The archs of a step, in order."""
        drawn = (f"sampled{number}" for number in range(1, self.sampler.middle + 1))
        return ("largest", *drawn, "smallest")

    def backward(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """One sandwich step's gradients."""
        archs, sizes = self.sampler.archs(step), self.sampler.sizes(step)
        teachers: Sequence[Arch | None] = () if self.taught else [None] * len(archs[1:])
        if self.prioritized:
            teachers = self.prioritized.teachers(self.network, archs, step)
        return sandwich(self.network, images, labels, archs, sizes, self.regularization, self.precision, teachers)

    def culprit(self, loss: int, step: int) -> str:
        """The arch of a loss."""
        return f"the {self.loss_names[loss]} arch, {self.network.space.encode(self.sampler.archs(step)[loss])},"

    def end_epoch(self, epoch: int) -> Record:
        """Rank the ground-truth archs, and keep this epoch's weights if they may be chosen."""
        if not self.validation.due(epoch):
            return {}
        truth = self.validation.truth
        archs = {"largest": largest(self.network.space), "smallest": smallest(self.network.space, self.sampler.digits)}
        archs |= {arch_id: entry.arch for arch_id, entry in truth.items()}
        scores = shared_scores(self.network, archs, self.validation.inputs, self.world)
        record: Record = {metric: {key: getattr(each, metric) for key, each in scores.items()} for metric in LOGGED}
        tau, error = float("nan"), float("nan")
        if len(truth) >= FEWEST:
            record |= self._agreement(record["prob"])
            tau, error = record["tau"]["value"], record["tau"]["error"]
        self._enter(Candidate(epoch, tau, error))
        return record

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """A supernet file with the optimizer's state and the candidates; then those forgotten go."""
        more = {"optimizer": self.optimizer.state_dict(), "candidates": [asdict(each) for each in self.candidates]}
        if self.prioritized:
            more["board"] = self.prioritized.board.state_dict()
        save_supernet(path, self.network, {**more, **state})
        self._remove_others()

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take up weights, optimizer, candidates, and the board if there is one."""
        self.network.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.candidates = [Candidate(**each) for each in content["candidates"]]
        if self.prioritized:
            self.prioritized.board.load_state_dict(content["board"])

    def chosen(self) -> Candidate:
        """The epoch that becomes the phase's supernet."""
        return choose(self.candidates)

    def file_of(self, candidate: Candidate) -> Path:
        """Where a candidate's weights are."""
        return self.validation.shelf.candidate(candidate.tau, candidate.epoch)

    def _agreement(self, scores: Mapping[str, float]) -> Record:
        """tau with its interval, and that of the proxies, which need no training at all."""
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
        if self.world.is_main and candidate in self.candidates:
            more = {"epoch": candidate.epoch, "tau": candidate.tau}
            save_supernet(self.file_of(candidate), self.network, more)

    def _remove_others(self) -> None:
        """Files of epochs that are no candidates any more; not before a state without them is on disk."""
        kept = {self.file_of(each) for each in self.candidates}
        for path in self.validation.shelf.candidates():
            if path not in kept:
                path.unlink()


def shared_scores(supernet: Supernet, archs: Mapping[str, Arch], inputs: Inputs, world: World) -> dict[str, Accuracy]:
    """Score archs, each on one of the processes; all processes learn every score."""
    mine = list(archs)[world.rank :: world.size]
    scores = score(supernet, [archs[arch_id] for arch_id in mine], inputs)
    found: dict[str, Accuracy] = {}
    for part in gathered(dict(zip(mine, scores, strict=True)), world):
        found |= part
    return {arch_id: found[arch_id] for arch_id in archs}
