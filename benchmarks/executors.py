"""What handing work units to a worker on Ray costs, against computing them in this process; both in one run.

    python benchmarks/executors.py                    track1 space at 224 px: some minutes on 2 cores
    python benchmarks/executors.py --space px8        8-px space, where a unit takes a moment

One worker with one thread computes what this process computes with one thread. The two take turns, because the
machine's speed may drift. A pass on Ray includes sending weights and images; the start of the worker is told apart.
Weights are random, images are noise: neither changes what is computed. The last line measures the same for units of
no work at all: what a unit costs beside its computation.
"""

import argparse
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from evaluate import dense_slice, random_inputs, random_supernet
from machine import duration_s

from fewshot_nas.cluster.crew import crew_on
from fewshot_nas.cluster.evaluation import OnRay
from fewshot_nas.cluster.schedule import Schedule
from fewshot_nas.cluster.shift import results
from fewshot_nas.distributed import Usual, World
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
        seconds: dict[str, list[float]] = {name: [] for name in scorers}
        for scorer in scorers.values():
            scorer.scores(archs[: options.unit])  # the first use of each shape builds its kernel
        for turn in range(options.passes):
            for name in sorted(scorers, reverse=bool(turn % 2)):
                seconds[name].append(duration_s(lambda: scorers[name].scores(archs)))  # noqa: B023
        empty = Schedule(dict.fromkeys(range(EMPTY), 1.0), slowest=1e3)
        empty_ms = 1000 / EMPTY * duration_s(lambda: list(results(crew, Empty(), empty)))
    local, ray_s = (sum(seconds[name]) for name in ("local", "ray"))
    units = len(scorers["local"].plan(archs).units)
    size = f"{len(archs)} archs in {units} units, {2 * options.images} images"
    print(f"{options.space}, {space.resolution} px, {size}, {options.passes} passes each")
    print("seconds:", {name: [round(each, 2) for each in times] for name, times in seconds.items()})
    unit_ms = 1000 * local / options.passes / units
    print(f"on Ray {100 * (ray_s / local - 1):+.1f} %; the worker came after {start_s:.1f} s")
    print(f"a unit takes {unit_ms:.0f} ms, and one of no work {empty_ms:.1f} ms on Ray")


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
    parser.add_argument("--archs", type=int, default=16)
    parser.add_argument("--unit", type=int, default=4, help="archs of a work unit")
    parser.add_argument("--images", type=int, default=16, help="to calibrate, and as many to score")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--address", help="of a Ray cluster (default: Ray is started here)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
