"""The optimizer: parameter groups, few-shot learning-rate multipliers, the schedule."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import torch
from torch import nn

from fewshot_nas.errors import InputError
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import Split

Multipliers = Sequence[Sequence[float]]  # by stage, by group

# Read off the public few-shot recipe: groups -> stage -> group, counted from the back -> factor.
_TABLE: Mapping[int, Mapping[tuple[int, int], float]] = {
    2: {(0, -1): 2, (1, -1): 5, (2, -1): 6, (3, -1): 6},
    3: {(1, 0): 1 / 4, (2, 0): 1 / 5, (3, 0): 1 / 5},
    4: {(1, 0): 1 / 3, (2, 0): 1 / 4, (3, 0): 1 / 4},
    5: {(1, 0): 1 / 2, (2, 0): 1 / 3, (3, 0): 1 / 3},
    6: {(2, 0): 1 / 2, (3, 0): 1 / 2},
}


def multipliers(split: Split, digits: Sequence[int], kind: Literal["rule", "table", "none"]) -> Multipliers:
    """Learning-rate factors of the groups of each stage.

    The rule: the inverse of the probability that a drawn arch falls into the group, so that all
    groups move equally far, scaled to a mean of 1 over draws. A group that the sampled digits
    never reach keeps 1.

    Raises:
        InputError: the table is asked for, which has values for splits of four stages by width only.
    """
    stages = range(split.space.stages)
    if kind == "rule":
        return [_inverse(_probabilities(split, stage, digits[stage])) for stage in stages]
    factors = [[1.0] * len(split.capacities(stage)) for stage in stages]
    if kind == "table":
        if split.by_width is None or split.space.stages != 4:
            raise InputError(f"lr_multipliers=table has no values for split {split.name}, expected rule or none")
        for (stage, group), factor in _TABLE.get(split.by_width, {}).items():
            factors[stage][group] = factor
    return factors


def parameter_groups(supernet: Supernet, factors: Multipliers, weight_decay: float) -> list[dict[str, object]]:
    """Every parameter in exactly one group of (factor, decay); no decay on vectors.

    The factor of a group of the last stage holds for its classifier too; the stem has 1.
    """
    sorted_out: dict[tuple[float, float], list[nn.Parameter]] = {}
    for factor, module in _factored(supernet, factors):
        for parameter in module.parameters():
            decay = weight_decay if parameter.dim() > 1 else 0.0
            sorted_out.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in sorted_out.items()
    ]


def plain_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameters with and without decay, for a network without groups."""
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [
        {"params": matrices, "factor": 1.0, "weight_decay": weight_decay},
        {"params": vectors, "factor": 1.0, "weight_decay": 0.0},
    ]


def sgd(groups: list[dict[str, object]], momentum: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; the learning rate is set before each step.

    A parameter without a gradient keeps its weights and its momentum. The fused kernel reads
    memory in order: a gradient must be laid out as its parameter is.
    """
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0, fused=True)
    if momentum:
        # The fused kernel takes a buffer for every gradient or for none, and a first step may
        # leave some groups out. A buffer of zeros is what a parameter's first step starts from.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def cosine(base: float, total: int, warmup: int) -> Callable[[int], float]:
    """The learning rate of each step: linear from a thousandth of `base`, then a cosine to 0."""

    def rate(step: int) -> float:
        if step < warmup:
            return base * (0.001 + 0.999 * step / warmup)
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group its multiple of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _probabilities(split: Split, stage: int, digits: int) -> list[Fraction]:
    """Of each group of a stage, over all output digits that are drawn and all depths."""
    space, (least, most) = split.space, split.space.depths[stage]
    reached = [
        split.group_of(stage, space.width(stage, digit), depth)
        for digit in range(1, digits + 1)
        for depth in range(least, most + 1)
    ]
    return [Fraction(reached.count(group), len(reached)) for group in range(len(split.capacities(stage)))]


def _inverse(probabilities: Sequence[Fraction]) -> list[float]:
    reached = sum(each > 0 for each in probabilities)
    return [float(1 / (reached * each)) if each else 1.0 for each in probabilities]


def _factored(supernet: Supernet, factors: Multipliers) -> Iterator[tuple[float, nn.Module]]:
    yield 1.0, supernet.stem
    for stage, stage_factors in zip(supernet.stages, factors, strict=True):
        assert isinstance(stage, nn.ModuleList)
        yield from zip(stage_factors, stage, strict=True)
    yield from zip(factors[-1], supernet.heads, strict=True)
