"""Training one network: from scratch, from the weights that it has in a supernet, or by Cream's recipe."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from fewshot_nas.evaluation.accuracy import guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing
from fewshot_nas.records.journal import Record
from fewshot_nas.training.task import Batch, Task, Trained

# In a running statistic each step counts 0.9 of the next one, so its first value, which no image was seen for, still
# counts 18 % after 16 steps, and half a percent after 50.
STEADY_STEPS = 50


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
