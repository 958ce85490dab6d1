"""What handing work units to a worker on Ray costs, against computing them in this process; both in one run.

    python benchmarks/executors.py                    track1 space at 224 px: some minutes on 2 cores
    python benchmarks/executors.py --space px8        8-px space, where a unit takes a moment

One worker with one thread computes what this process computes with one thread. The two take turns, because the
machine's speed may drift. The first unit of each pass is told apart: on Ray, weights and images are sent before it.
Weights are random, images are noise: neither changes what is computed. The last line is about units of no work at
all: what a unit costs beside its computation.
"""

import argparse
import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from evaluate import dense_slice, random_inputs, random_supernet
from machine import duration_s
from torch import Tensor

from fewshot_nas.cluster.crew import crew_on
from fewshot_nas.cluster.evaluation import OnRay
from fewshot_nas.cluster.schedule import Schedule
from fewshot_nas.cluster.shift import results
from fewshot_nas.distributed import Usual, World
from fewshot_nas.evaluation.executors import Results
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.space.search_space import SPACES

EMPTY = 200  # units of no work


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(1)
    space, classes = SPACES[options.space], 1000 if options.space == "track1" else 10
    archs = dense_slice(options.archs)
    supernet = random_supernet(space, 1, classes)
    inputs = random_inputs(space, options.images, options.images, options.images, classes)
    with crew_on(options.address, 1, "cpu", Usual(threads=1), print) as crew:
        ray = OnRay(lambda: nullcontext(crew))
        start_s = duration_s(lambda: ray.numerics(torch.device("cpu"), []))
        scorers = {
            "local": Scorer(supernet, inputs, unit_networks=options.unit),
            "ray": Scorer(supernet, inputs, ray, unit_networks=options.unit),
        }
        plan = scorers["local"].plan(archs)
        order = sorted(range(len(plan.units)), key=lambda number: -plan.units[number].macs)
        found: dict[str, list[Tensor]] = {name: [] for name in scorers}
        for turn in range(options.passes):
            for name in sorted(scorers, reverse=bool(turn % 2)):
                found[name].append(arrivals_s(scorers[name].results(plan, order)))
        empty = Schedule(dict.fromkeys(range(EMPTY), 1.0), slowest=1e3)
        empty_ms = 1000 / EMPTY * duration_s(lambda: list(results(crew, Empty(), empty)))
    first = {name: torch.stack(each)[:, 0] for name, each in found.items()}
    rest = {name: torch.stack(each)[:, -1] - first[name] for name, each in found.items()}
    size = f"{len(archs)} archs in {len(order)} units, {2 * options.images} images"
    print(f"{options.space}, {space.resolution} px, {size}, {options.passes} passes each")
    for name, each in rest.items():
        print(f"{name}: seconds of all units but the first, by pass: {[round(value, 2) for value in each.tolist()]}")
    ratios = rest["ray"] / rest["local"]
    more = 100 * float(rest["ray"].sum() / rest["local"].sum() - 1)
    sending_s = float((first["ray"] - first["local"]).median())
    unit_ms = 1000 * float(rest["local"].mean()) / (len(order) - 1)
    print(f"on Ray {more:+.1f} %; by pass {ratios.min():.3f} to {ratios.max():.3f}")
    print(f"the worker came after {start_s:.1f} s; sending took {sending_s:.1f} s, once")
    print(f"a unit takes {unit_ms:.0f} ms here, and one of no work {empty_ms:.1f} ms on Ray")


def arrivals_s(found: Results) -> Tensor:
    """When each result came, in seconds from now."""
    begun = time.perf_counter()
    return torch.tensor([time.perf_counter() - begun for _ in found], dtype=torch.float64)


@dataclass(frozen=True)
class Empty:
    """A parcel of no work."""

    def unpacked(self, world: World) -> "Empty":
        """Itself."""
        return self

    def __call__(self, number: int) -> None:
        """Nothing."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=sorted(SPACES), default="track1")
    parser.add_argument("--archs", type=int, default=24)
    parser.add_argument("--unit", type=int, default=4, help="archs of a work unit")
    parser.add_argument("--images", type=int, default=16, help="to calibrate, and as many to score")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--address", help="of a Ray cluster (default: Ray is started here)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
