"""Paths that train alone for some steps, from the supernet's weights, before they are compared.

Weights that many paths share suit none of them fully, and some paths less than others. A few steps alone show what a
path can make of its own weights. They cost much more than a score, so they are for the last choice among a few paths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal

import torch
from torch import Tensor, nn

from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import normalize
from fewshot_nas.evaluation.accuracy import Accuracy
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.loop import Batch
from fewshot_nas.training.optimizer import plain_groups, set_rate, sgd
from fewshot_nas.training.stand_alone import learn


@dataclass(frozen=True, eq=False, kw_only=True)
class Finals:
    """The same steps for all paths, on the same batches; then each is scored with batch norms of its own.

    Attributes:
        batches, first_epoch: training batches, from the beginning of that epoch on.
        inputs: the images to score on, and training images for the batch norms.
        steps: of each path.
        rate: learning rate of the first step; it falls linearly, and would be 0 after the last.
    """

    batches: TrainBatches
    first_epoch: int
    inputs: Inputs
    steps: int
    rate: float
    momentum: float
    weight_decay: float
    smoothing: float
    precision: Literal["fp32", "bf16"] = "fp32"

    def scores(self, supernet: Supernet, paths: Sequence[Arch]) -> list[Accuracy]:
        """The accuracy of each path after its steps; the supernet stays as it is."""
        networks = [extract(supernet, path).to(memory_format=torch.channels_last) for path in paths]
        self._train(networks)
        return [self._measured(network) for network in networks]

    def _train(self, networks: Sequence[nn.Module]) -> None:
        """All networks side by side, so that each batch is made once."""
        optimizers = [sgd(plain_groups(network, self.weight_decay), self.momentum) for network in networks]
        for step, (images, labels) in enumerate(self._normalised()):
            for network, optimizer in zip(networks, optimizers, strict=True):
                optimizer.zero_grad(set_to_none=True)
                learn(network, Batch(images, labels, step), self.smoothing, self.precision)
                set_rate(optimizer, self.rate * (1 - step / self.steps))
                optimizer.step()

    def _normalised(self) -> Iterator[tuple[Tensor, Tensor]]:
        every = (batch for epoch in count(self.first_epoch) for batch in self.batches.epoch(epoch))
        for images, labels in islice(every, self.steps):
            yield normalize(images.to(self.inputs.device), self.inputs.mean, self.inputs.std), labels

    def _measured(self, network: nn.Module) -> Accuracy:
        with self.inputs.autocast():
            calibrate(network, self.inputs.calibration_batches())
        return measure(network, self.inputs)
