"""What the loop trains: images, a step, and a task, whose network learns by the step.

A new way to train is a `Step`, a `Task`, or both; the loop stays as it is. The simplest task is one network: from
scratch, from the weights that it has in a supernet, or by Cream's recipe.
"""

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import Transform
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs, guessing
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.batch import BatchShare
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing
from fewshot_nas.records.journal import Record

# In a running statistic each step counts 0.9 of the next one, so its first value, which no image was seen for, still
# counts 18 % after 16 steps, and half a percent after 50.
STEADY_STEPS = 50


@dataclass(frozen=True)
class Source:
    """Training images, and how they are transformed and normalised for the network."""

    images: Images
    transform: Transform
    mean: tuple[float, ...]
    std: tuple[float, ...]
    workers: int = 0

    def batches(self, batch_size: int, seed: int, world: World) -> TrainBatches:
        """This process's share of the training batches, which have so many images on all processes."""
        return TrainBatches(
            self.images,
            self.transform,
            batch_size=batch_size,
            seed=seed,
            rank=world.rank,
            world=world.size,
            workers=self.workers,
            device=world.device,
        )


class Batch(NamedTuple):
    """What a step trains on.

    Attributes:
        images: [B, C, H, W], normalised.
        labels: class indices [B].
        step: its number, from 0.
        share: which images these are of a batch that several processes share.
    """

    images: Tensor
    labels: Tensor
    step: int
    share: BatchShare | None = None


class Trained(NamedTuple):
    """What a step has found.

    Attributes:
        numbers: losses [names], followed by any other numbers to be averaged over the processes.
        logits: of the networks that it trained, each [B, classes], without graphs; for `Task.after_backward`.
    """

    numbers: Tensor
    logits: Sequence[Tensor] = ()


class Step(Protocol):
    """How a task learns from a batch: who is trained, who teaches, and what is lost."""

    @property
    def names(self) -> Sequence[str]:
        """The names of a step's losses."""

    def backward(self, network: Any, batch: Batch) -> Trained:
        """Add a batch's gradients to a network's parameters."""

    def culprit(self, network: Any, loss: int, step: int) -> str:
        """The owner of a loss, for the message if the loss is not finite."""


S = TypeVar("S", bound=Step)
N = TypeVar("N", bound=nn.Module)


@dataclass(kw_only=True)
class Task(ABC, Generic[N, S]):
    """What the loop trains: the loop decides when something happens, the task does it."""

    network: N
    optimizer: torch.optim.Optimizer
    step: S

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        """Take note of a step, before the optimizer's. `means` are its numbers' over the processes."""

    @abstractmethod
    def end_epoch(self, epoch: int) -> Record:
        """Validate, and return a record for the log."""

    @abstractmethod
    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write the task's state and the loop's `state` into one file, whole or not at all."""

    @abstractmethod
    def restore(self, content: Mapping[str, Any]) -> None:
        """Restore the state that `save` wrote."""


def plain_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The parameter groups of a plain network: matrices with weight decay, vectors without."""
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [
        {"params": matrices, "factor": 1.0, "weight_decay": weight_decay},
        {"params": vectors, "factor": 1.0, "weight_decay": 0.0},
    ]


def sgd(groups: list[dict[str, object]], momentum: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; the learning rate is set before each step.

    A parameter without a gradient keeps its weights and its momentum. The fused kernel reads memory
    in order, so a gradient must have the memory layout of its parameter.
    """
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0, fused=True)
    if momentum:
        # The fused kernel needs a momentum buffer for every gradient or for none, and a first step may not
        # reach all groups. A buffer of zeros gives the same result as no buffer.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@dataclass(frozen=True)
class Learning:
    """The step of a single network, which learns from the labels.

    Attributes:
        smoothing: of the labels.
        culprit_name: of the network, for the message that its loss is not finite.
        names: of its loss, in the log.
    """

    smoothing: float
    precision: Literal["fp32", "bf16"]
    culprit_name: str = "the network"
    names: Sequence[str] = ("arch",)

    def backward(self, network: nn.Module, batch: Batch) -> Trained:
        """Add the gradients of a batch's cross-entropy to the network's parameters."""
        network.train()
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if batch.share is None:
                logits = network(batch.images)
            else:
                assert isinstance(network, Subnet)
                logits = network.shared(batch.images, batch.share)
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=self.smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return Trained(loss.detach()[None])

    def culprit(self, network: nn.Module, loss: int, step: int) -> str:
        """The network; there is only one."""
        return self.culprit_name


@dataclass(kw_only=True)
class NetworkTask(Task[Subnet, Learning]):
    """One network, for `Loop`.

    Attributes:
        valid: the images to rank on.
        calibrates: whether batch norms are calibrated before the network is measured, as those of a short training have
            to be, see `STEADY_STEPS`; otherwise they have the running statistics of the training.
        due: epochs, counted from 0, after which it is measured.
        average: the network with an average of the weights of all steps, which is then what is measured.
        measured_as: the name of its accuracy, in the log.
    """

    valid: Inputs
    calibrates: bool
    due: Container[int] = ()
    average: Subnet | None = None
    measured_as: str = "arch"

    def end_epoch(self, epoch: int) -> Record:
        """Accuracy on the validation images, in percent, if it is due."""
        if epoch not in self.due:
            return {}
        return {"top1": {self.measured_as: self.measured()[0]}, "guessing": guessing(self.valid.labels)}

    def measured(self, *parts: Inputs) -> list[float]:
        """The present accuracy in percent, on the validation images or on each of the parts."""
        network = self.network if self.average is None else self.average
        if self.calibrates:
            with self.valid.autocast():
                calibrate(network, self.valid.calibration_batches())
        network.eval()
        return [measure(network, inputs).top1 for inputs in parts or (self.valid,)]

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        with replacing(path) as stream:
            torch.save({**{name: part.state_dict() for name, part in self._parts().items()}, **state}, stream)

    def restore(self, content: Mapping[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(content[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.network, "average": self.average, "optimizer": self.optimizer}
        return {name: part for name, part in parts.items() if part is not None}
