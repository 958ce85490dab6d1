"""What handing work units to a worker on Ray costs, against computing them in this process; both in one run.

    python benchmarks/executors.py                    track1 space at 224 px: some minutes on 2 cores
    python benchmarks/executors.py --space px8        8-px space, where a unit takes a moment

One worker with one thread computes what this process computes with one thread. The two take turns, because the
machine's speed may drift. The first unit of each pass is told apart: on Ray, weights and images are sent before it.
Weights are random, images are noise: neither changes what is computed. The last line is about units of no work at
all: what a unit costs beside its computation. On a busy machine the clock says little; the processor's time is that of
both processes.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from evaluate import dense_slice, random_inputs, random_supernet
from machine import duration_s

from fewshot_nas.cluster.pool import WorkerPool, results, workers_on
from fewshot_nas.cluster.schedule import TaskSchedule
from fewshot_nas.cluster.work import PackedWork, packed
from fewshot_nas.computing import DefaultSettings
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.executors import Work
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.space.presets import SPACES

EMPTY = 200  # units of no work


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(1)
    space, classes = SPACES[options.space], 1000 if options.space == "track1" else 10
    archs = dense_slice(options.archs)
    supernet = random_supernet(space, 1, classes)
    inputs = random_inputs(space, options.images, options.images, options.images, classes)
    work = Work(supernet, inputs, Scorer(supernet, inputs, unit_networks=options.unit).plan(archs).units)
    passes: dict[str, list[Pass]] = {"local": [], "ray": []}
    with workers_on(options.address, 1, "cpu", DefaultSettings(threads=1), print) as workers:
        start_s = duration_s(lambda: workers.first({}))
        for turn in range(options.passes):
            for name in sorted(passes, reverse=bool(turn % 2)):
                passes[name].append(measured(on_ray(workers, work) if name == "ray" else here(work)))
        empty = TaskSchedule(dict.fromkeys(range(EMPTY), 1.0), slowest=1e3)
        empty_ms = 1000 / EMPTY * duration_s(lambda: list(results(workers, Empty(), empty)))
    size = f"{len(archs)} archs in {len(work.units)} units, {2 * options.images} images"
    print(
        f"{options.space}, {space.resolution} px, {size}, {options.passes} passes each; without each pass's first unit:"
    )
    for name, each in passes.items():
        walls, cpus = (
            [round(value, 2) for value in column] for column in zip(*((p.wall_s, p.cpu_s) for p in each), strict=True)
        )
        print(f"{name}: seconds {walls}, of the processor {cpus}")
    for kind in ("wall_s", "cpu_s"):
        ray_s, local_s = (sum(getattr(p, kind) for p in passes[name]) for name in ("ray", "local"))
        print(f"on Ray {100 * (ray_s / local_s - 1):+.1f} % by {kind}")
    sending_s = min(p.first_s for p in passes["ray"]) - min(p.first_s for p in passes["local"])
    print(f"the worker came after {start_s:.1f} s; sending took {sending_s:.1f} s, once")
    print(f"a unit of no work takes {empty_ms:.1f} ms on Ray")


class Pass(NamedTuple):
    """Seconds until the first unit was done, and of all others: by the clock, and of the processor in all processes."""

    first_s: float
    wall_s: float
    cpu_s: float


def measured(units: Iterator[float]) -> Pass:
    """Time units that tell the processor's time that they took elsewhere."""
    begun = time.perf_counter()
    next(units)
    first, driver = time.perf_counter(), time.process_time()
    elsewhere_s = sum(units)
    return Pass(first - begun, time.perf_counter() - first, elsewhere_s + time.process_time() - driver)


def here(work: Work) -> Iterator[float]:
    """Compute all units in this process."""
    for number in largest_first(work):
        work(number)
        yield 0.0


def on_ray(workers: WorkerPool, work: Work) -> Iterator[float]:
    """Compute all units on a pool of workers."""
    costs = {number: float(work.macs(number)) for number in largest_first(work)}
    return (spent_s for _, spent_s in results(workers, Timed(packed(work)), TaskSchedule(costs, slowest=1.0)))


def largest_first(work: Work) -> list[int]:
    """The order of a schedule."""
    return sorted(range(len(work.units)), key=work.macs, reverse=True)


@dataclass(frozen=True)
class Timed:
    """Packed work whose results are seconds of the worker's processor."""

    packed_work: PackedWork

    def unpacked(self, world: World) -> Callable[[int], float]:
        work = self.packed_work.unpacked(world)

        def timed(number: int) -> float:
            begun = time.process_time()
            work(number)
            return time.process_time() - begun

        return timed


@dataclass(frozen=True)
class Empty:
    """Packed work of nothing to do."""

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
