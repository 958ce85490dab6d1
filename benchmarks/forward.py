"""Speed of a subnet inside the supernet and taken out of it, and so the price of slicing.

    python benchmarks/forward.py [--space track1] [--batch 32] [--threads N]

Both run on the same images with batch statistics, in turns, so that a busy neighbour slows both.
The widest subnet is not of interest: there is nothing to slice.
"""

import argparse
import random
from collections.abc import Callable
from statistics import median

import torch
from machine import duration_s, matmul_gflops

from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Arch, random_arch
from fewshot_nas.space.split import by_width

Pair = tuple[float, float]


def main() -> None:
    """Print the machine's rate, then both ways' for two subnets, forward and in training."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"matrix product: {matmul_gflops():.0f} GFLOP/s in float32 on {options.threads} threads")
    space = SPACES[options.space]
    supernet = Supernet(by_width(space, options.groups), num_classes=1000)
    images = torch.randn(options.batch, space.in_channels, space.resolution, space.resolution)
    for name, arch in (("smallest", space.smallest), ("random", random_arch(space, random.Random(0)))):
        flops = 2 * len(images) * space.cost(arch).macs
        _report(f"{name}, forward", forward_times(supernet, arch, images, options.rounds), len(images), flops)
        # A backward pass is two products per weight where the forward pass is one.
        _report(f"{name}, training", training_times(supernet, arch, images, options.rounds), len(images), 3 * flops)


@torch.no_grad()
def forward_times(supernet: Supernet, arch: Arch, images: torch.Tensor, rounds: int) -> list[Pair]:
    """Seconds of a forward pass, (sliced, extracted) per round."""
    subnet = extract(supernet, arch)
    return in_turns(lambda: supernet(images, arch), lambda: subnet(images), rounds)


def training_times(supernet: Supernet, arch: Arch, images: torch.Tensor, rounds: int) -> list[Pair]:
    """Seconds of a forward and backward pass, (sliced, extracted) per round."""
    subnet = extract(supernet, arch)
    return in_turns(lambda: step(supernet, images, arch), lambda: step(subnet, images), rounds)


def step(network: torch.nn.Module, *inputs: object) -> None:
    """Fresh gradients of some loss."""
    network.zero_grad()
    network(*inputs).square().sum().backward()


def in_turns(sliced: Callable[[], object], extracted: Callable[[], object], rounds: int) -> list[Pair]:
    """Time both in each round, after one call each to warm up; who goes first alternates."""
    sliced(), extracted()
    pairs = []
    for number in range(rounds):
        if number % 2:
            pairs.append((duration_s(sliced), duration_s(extracted)))
        else:
            extracted_s = duration_s(extracted)
            pairs.append((duration_s(sliced), extracted_s))
    return pairs


def _report(title: str, pairs: list[Pair], images: int, flops: int) -> None:
    for way, times in zip(("sliced", "extracted"), zip(*pairs, strict=True), strict=True):
        time_s = median(times)
        print(f"{title}, {way:9} {images / time_s:7.1f} images/s {flops / time_s / 1e9:6.0f} GFLOP/s")
    overhead_percent = 100 * (median(sliced / extracted for sliced, extracted in pairs) - 1)
    print(f"{title}, overhead of slicing: {overhead_percent:+.1f} %")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=SPACES, default="track1", help="with its own resolution (default track1)")
    parser.add_argument("--groups", type=int, default=1, help="of the supernet (default 1)")
    parser.add_argument("--batch", type=int, default=32, help="images per pass (default 32)")
    parser.add_argument("--rounds", type=int, default=8, help="of which the median counts (default 8)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: torch's choice")
    return parser


if __name__ == "__main__":
    main()
