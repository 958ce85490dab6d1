"""Scores of networks that nothing has trained, at quarter widths; plan.md says why.

    python -m studies.cifar10_truths.baselines --root DIR TABLE
    python -m studies.cifar10_truths.baselines --root DIR --sliced TABLE
    python -m studies.cifar10_truths.baselines --root DIR --full TABLE

Written to `baselines/TABLE.csv`, a row for each key of the sample. A file that is there goes on where it was stopped.
Each network has weights of its own; with `--sliced` it is a slice of one untrained supernet, as in `rank --untrained`,
and its NASWOT goes to `baselines/TABLE_sliced.csv`. With `--full` it has the widths of the table, and its NASWOT goes
to `baselines/TABLE_full.csv`.
"""

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from fewshot_nas import Space, open_data
from fewshot_nas.data.transforms import normalize
from fewshot_nas.models.supernet import BlockLayers, HeadLayers
from fewshot_nas.scoring import scorer
from fewshot_nas.space.presets import preset
from fewshot_nas.space.space import Arch
from studies.cifar10_truths.run import HERE, at_hand, sample, space_of

BASELINES = HERE / "baselines"
NAMES = ("naswot", "synflow", "zen")
SLICED, FULL = "_sliced", "_full"  # after a table's name
NETWORKS, BATCH = 1024, 64
APART = 0.01  # of the two inputs of the Zen score


class Untrained(nn.Module):
    """A network with weights of a normal distribution and norms that scale by one.

    Args:
        shortcuts: whether it has its identities and projections, which the Zen score is defined without.
    """

    def __init__(self, space: Space, arch: Arch, seed: int, *, shortcuts: bool = True) -> None:
        super().__init__()
        blocks = [block for _, block in space.blocks(arch)]
        if not shortcuts:
            blocks = [block._replace(shortcut=None) if block.main else block for block in blocks]
        self.blocks = nn.Sequential(*(BlockLayers(block, tracks=True) for block in blocks))
        self.head = HeadLayers(space.head(arch), 10)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # so that it keeps the variances of the last batch
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in), generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = self.head(self.blocks(x))
        return logits

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """All of them."""
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


class _Patterns(TorchFunctionMode):
    """Adds up how alike the images' patterns of active units are, [B, B]."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.alike = torch.zeros(images, images, dtype=torch.float64)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.relu:
            on = (args[0].detach() > 0).flatten(1).float()
            self.alike += on @ on.T + (1 - on) @ (1 - on).T
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def naswot(network: Untrained, images: Tensor) -> float:
    """The log-determinant of how alike the images' patterns of active units are (arXiv:2006.04647)."""
    network.train()
    with _Patterns(len(images)) as patterns:
        network(images)
    return float(torch.linalg.slogdet(patterns.alike)[1])


def synflow(network: Untrained, images: Tensor) -> float:
    """The logarithm of the sum of weight times gradient for an image of ones (arXiv:2006.05467), without norms.

    The network is changed: its weights become absolute values of double precision.
    """
    network = network.double().eval()
    for norm in network.norms:
        norm.reset_running_stats()  # mean 0 and variance 1, so that they do nothing
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()  # type: ignore[no-untyped-call]
    weights = [each for each in network.parameters() if each.ndim > 1 and each.grad is not None]
    return math.log(sum(float((each * each.grad).sum().detach()) for each in weights if each.grad is not None))


@torch.no_grad()
def zen(network: Untrained, images: Tensor) -> float:
    """The logarithm of how far apart the last maps of two near inputs are (arXiv:2102.01063), without shortcuts."""
    network.train()
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(images.shape, generator=generator) for _ in range(2))
    near, far = network.blocks(x), network.blocks(x + APART * noise)
    scale = sum(
        0.5 * math.log(float(norm.running_var.mean())) for norm in network.norms if norm.running_var is not None
    )
    return math.log(float((near - far).abs().mean())) + scale


def scores(space: Space, arch: Arch, images: Tensor) -> list[float]:
    """All scores of an arch, in the order of `NAMES`."""
    with_all = Untrained(space, arch, 0)
    return [
        naswot(with_all, images),
        synflow(with_all, images),
        zen(Untrained(space, arch, 0, shortcuts=False), images),
    ]


def read_baselines(table: str) -> Iterator[tuple[str, dict[str, float]]]:
    """The keys of a table with their scores by name; nothing if there are none."""
    path = BASELINES / f"{table}.csv"
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                yield row.pop("key"), {name: float(value) for name, value in row.items()}


def of_slices(space: Space, images: Tensor) -> Callable[[Arch], list[float]]:
    """NASWOT of an arch as `rank --untrained` has it."""
    supernet = scorer.untrained(space, 0)
    return lambda arch: [scorer.naswot(supernet, arch, images)]


def of_networks(space: Space, images: Tensor) -> Callable[[Arch], list[float]]:
    """NASWOT of an arch with weights of its own."""
    return lambda arch: [naswot(Untrained(space, arch, 0), images)]


def main(argv: Sequence[str] | None = None) -> int:
    """Score the sample of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory of CIFAR-10")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sliced", action="store_true", help="NASWOT of slices of one untrained supernet")
    which.add_argument("--full", action="store_true", help="NASWOT of networks of full widths")
    parser.add_argument("table")
    options = parser.parse_args(argv)
    space = preset(options.table) if options.full else space_of(options.table)
    data = open_data("cifar10", options.root)
    images = normalize(data.train.pixels(torch.arange(BATCH)), data.mean, data.std)
    keys = sample(at_hand(options.table), NETWORKS)
    path, names, of = BASELINES / f"{options.table}.csv", NAMES, partial(scores, space, images=images)
    if options.sliced:
        path, names, of = path.with_stem(path.stem + SLICED), NAMES[:1], of_slices(space, images)
    elif options.full:
        path, names = path.with_stem(path.stem + FULL), NAMES[:1]
        of = of_networks(space, images)
    path.parent.mkdir(exist_ok=True)
    done = {line.partition(",")[0] for line in path.read_text().splitlines()} if path.exists() else set()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(["key", *names])
        for key in keys:
            if key not in done:
                writer.writerow([key, *(f"{each:.6g}" for each in of(space.decode(key)))])
                file.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
