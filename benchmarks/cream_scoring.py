"""What folding, the plan and batches each gain when a Cream search's supernet scores paths, beside the plain way.

    python benchmarks/cream_scoring.py                 a small search's paths and published ones, in some minutes
    python benchmarks/cream_scoring.py --case small

Each way is the one above with one thing more. The plain way extracts, calibrates and measures one path at a time.
The engine with one path to a work unit folds norms into convolutions. Units of 128 share what paths begin with. Then
more images are scored at a time. All ways take turns on the same paths; medians of processor time count, so that other
work on the machine disturbs them little. Weights are random and images are noise: neither changes what is computed.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from fewshot_nas.cli.settings import load
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import UNIFORM
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import score_plainly
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.split import one_shot

CONFIGS = Path(__file__).parents[1] / "configs"


class Case(NamedTuple):
    """A search's settings, its images' channels and classes, and how much is scored how."""

    config: str
    channels: int
    classes: int
    paths: int
    images: int
    batch: int
    more: int  # images at a time, in the last way


CASES = {
    "small": Case("cream_small.yml", 1, 45, 64, 256, 64, 256),
    "published": Case("cream_search.yml", 3, 1000, 8, 16, 8, 16),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3, help="of each way (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.case:
        measure(name, CASES[name], options.rounds)


def measure(name: str, case: Case, rounds: int) -> None:
    """Print how many times as fast as the plain way each way is."""
    config = load(SearchConfig, CONFIGS / case.config)
    budget, space = config.budget(), config.network(case.channels)
    archs = list(make_pool(space, 0, case.paths, lambda rng: budget.sample(rng, UNIFORM)).values())
    torch.manual_seed(0)
    supernet = Supernet(one_shot(space), case.classes).to(memory_format=torch.channels_last)
    shape = (case.images, case.channels, space.resolution, space.resolution)
    pixels, channel = torch.randint(0, 256, shape, dtype=torch.uint8), (0.5,) * case.channels
    labels = torch.randint(0, case.classes, (case.images,))
    calibration = pixels[: case.images // 2]
    few = Inputs(calibration, case.batch, pixels, labels, case.batch, channel, channel, torch.device("cpu"))
    whole = Scorer(supernet, few)
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: score_plainly(supernet, archs, few),
        "folded": lambda: Scorer(supernet, few, unit_networks=1).scores(archs),
        "planned too": lambda: whole.scores(archs),
        "in larger batches too": lambda: Scorer(supernet, replace(few, batch=case.more)).scores(archs),
    }
    taken = {way: list[float]() for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            start = time.process_time()
            work()
            taken[way].append(time.process_time() - start)
    plan, usual = whole.plan(archs), median(taken["plain"])
    share = 100 * plan.macs / plan.plain_macs
    print(f"{name}: {case.paths} paths of depths {space.lengths}, {case.images} images of {space.resolution} px,")
    print(f"{len(calibration)} to calibrate; the plan needs {share:.0f} % of the plain multiply-adds")
    for way, seconds in taken.items():
        print(f"  {way:24}{usual / median(seconds):6.2f} times as fast")


if __name__ == "__main__":
    main()
