"""The optimizer: parameter groups, and few-shot learning-rate multipliers."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Literal

import torch
from torch import nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Options
from fewshot_nas.space.split import Rule, Split

Multipliers = Sequence[Sequence[float]]  # by place (the head comes last), by group

# The factors of the public few-shot recipe: number of groups -> (stage, group) -> factor; group -1 is the last.
_TABLE: Mapping[int, Mapping[tuple[int, int], float]] = {
    2: {(0, -1): 2, (1, -1): 5, (2, -1): 6, (3, -1): 6},
    3: {(1, 0): 1 / 4, (2, 0): 1 / 5, (3, 0): 1 / 5},
    4: {(1, 0): 1 / 3, (2, 0): 1 / 4, (3, 0): 1 / 4},
    5: {(1, 0): 1 / 2, (2, 0): 1 / 3, (3, 0): 1 / 3},
    6: {(2, 0): 1 / 2, (3, 0): 1 / 2},
}


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


def _probabilities(rule: Rule, options: Options) -> list[Fraction]:
    """The probability of each group at a place, over all options that are drawn."""
    reached = [rule.groups[key] for key in product(*(options[slot] for slot in rule.reads))]
    return [Fraction(reached.count(group), len(reached)) for group in range(rule.size)]


def _inverse(probabilities: Sequence[Fraction]) -> list[float]:
    reached = sum(each > 0 for each in probabilities)
    return [float(1 / (reached * each)) if each else 1.0 for each in probabilities]
