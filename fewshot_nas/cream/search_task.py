"""The search: each step trains one path of the supernet, and the board remembers the best."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot_nas.cream.board import BoardEntry, BoardKeeping, TrainedPath, share_right
from fewshot_nas.cream.flops import PRIOR, Budget
from fewshot_nas.cream.teaching import BoardTeacher
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.accuracy import Accuracy, guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.subnet import inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import write_json
from fewshot_nas.records.journal import Record
from fewshot_nas.running.run import placed
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import one_shot, split_of
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Batch, Task, Trained


@dataclass(frozen=True)
class PathSampler:
    """Draws the path of a step. It depends on seed and step only, so all processes draw the same path."""

    seed: int
    budget: Budget
    probabilities: Sequence[float] = PRIOR
    names: Sequence[str] = ("path",)

    def archs(self, step: int) -> Sequence[Arch]:
        """The path of a step, within the budget's bounds: its only arch."""
        return [self.budget.sample(random.Random(f"{self.seed}/path/{step}"), self.probabilities)]


@dataclass(frozen=True, kw_only=True)
class PathStep(SupernetStep):
    """The step of a path; its accuracy on the batch follows its loss."""

    teacher: BoardTeacher

    def backward(self, network: Supernet, batch: Batch) -> Trained:
        (loss,), (logits,) = super().backward(network, batch)
        return Trained(torch.stack([loss, share_right(logits, batch.labels)]), [logits])


@dataclass(kw_only=True)
class SearchTask(Task[Supernet, PathStep]):
    """A search, for `Loop`.

    Attributes:
        network: its split is `shared` at first if choices share weights at the beginning, and then `one_shot`.
        optimizer_of: makes the optimizer of a supernet.
        shared_epochs: number of epochs, at the beginning, in which all choices of a block share their weights.
        board_file: where the board is written after each epoch.
        due: epochs, counted from 0, after which the best path is validated on `inputs`.
    """

    optimizer: torch.optim.Optimizer = field(init=False)
    world: World
    optimizer_of: Callable[[Supernet], torch.optim.Optimizer]
    inputs: Inputs
    due: frozenset[int]
    board_file: Path
    shared_epochs: int = 0

    def __post_init__(self) -> None:
        self.optimizer = self.optimizer_of(self.network)

    @property
    def keeping(self) -> BoardKeeping:
        """Who keeps the board."""
        return self.step.teacher.keeping

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        (path,), right = self.step.sampler.archs(batch.step), means[1]
        if batch.share:  # a whole number of images was right: the rounding of a mean must not decide
            right = (right * batch.share.total).round() / batch.share.total
        self.keeping.note(TrainedPath(batch.step, path, self.network, batch.images, trained.logits[0], right))

    def end_epoch(self, epoch: int) -> Record:
        """Write the board, and validate the best path if there is one and it is due.

        After the last epoch in which choices share weights, each gets a copy of its part.
        """
        self.keeping.apply_pending()
        entries = [self._described(entry) for entry in self.keeping.board.entries]
        record: Record = {"board": {"paths": len(entries), "measure": self.keeping.measure, "entries": entries}}
        if self.world.is_rank0:
            write_json(self.board_file, {"epoch": epoch, "board": entries})
            if epoch in self.due and entries:
                best = self.best().candidate
                record |= {"top1": {"best": self.validated(best).top1}, "path": self.network.space.encode(best)}
                record["guessing"] = guessing(self.inputs.labels)
        if epoch + 1 == self.shared_epochs:
            self._separate()
        return record

    def _separate(self) -> None:
        """Give every choice weights of its own. Momentum begins anew."""
        parent = self.network
        self.network = placed(inherit(parent, one_shot(parent.space)), self.world)
        self.network.trained_on = parent.trained_on
        self.optimizer = self.optimizer_of(self.network)

    def best(self) -> BoardEntry[Arch]:
        """The best entry of the board, which must not be empty."""
        self.keeping.apply_pending()
        return self.keeping.board.entries[0]

    def validated(self, path: Arch) -> Accuracy:
        """The accuracy of a path with the supernet's weights and with its own batch norm statistics."""
        return Scorer(self.network, self.inputs).scores([path])[0]

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write a supernet file with the matching network, both optimizers and the board."""
        self.keeping.apply_pending()
        more = {name: part.state_dict() for name, part in self._state().items()}
        save_supernet(path, self.network, {**more, "board": self.keeping.board.state_dict(), **state})

    def restore(self, content: Mapping[str, Any]) -> None:
        if split_of(self.network.space, content) != self.network.split:
            self._separate()
        self.network.load_state_dict(content["model"])
        for name, part in self._state().items():
            part.load_state_dict(content[name])
        self.keeping.board.load_state_dict(content["board"], self.world.device)
        self.keeping.restart()

    def _state(self) -> dict[str, Any]:
        teacher = self.step.teacher
        return {"optimizer": self.optimizer, "matching": teacher.matching, "judge": teacher.optimizer}

    def _described(self, entry: BoardEntry[Arch]) -> dict[str, Any]:
        code = self.network.space.encode(entry.candidate)
        return {"INPUT_ARCH": code, self.keeping.measure: entry.accuracy, "mflops": entry.cost}
