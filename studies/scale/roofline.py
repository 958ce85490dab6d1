"""Hours of the whole recipe for ImageNet on H100 GPUs, by a roofline: no GPU was there to measure on.

    python -m studies.scale.roofline             a few minutes; the tables of docs/scale.md

A kernel takes what its multiply-adds need at the assumed rate, or its bytes at the assumed bandwidth, or the least time
of a kernel, whichever is longest. Counted are multiply-adds, bytes and kernels of every operation that the program
launches (`python -m tests.null_device` counts the launches of a step). A step takes the longer of its kernels and its
host.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from fewshot_nas.config import Config, load_config
from fewshot_nas.evaluation.prefix_tree import Leaf, Plan, WorkUnit, make_plan
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS
from fewshot_nas.space.block import Block, Op
from fewshot_nas.space.space import Arch, Space, random_arch
from fewshot_nas.space.split import by_width
from studies.common import ROOT
from studies.scale.run import ALONE, CLASSES, PHASES, TEST, TRAIN, archs_of

MACS_PER_S = {"TF32": 100e12, "bf16": 200e12}  # assumed: two fifths of what an H100 can do at most
BYTES = {"TF32": 4, "bf16": 2}  # of a number in an activation
BYTES_PER_S = 2.6e12  # assumed, of 3.35e12
KERNEL_S = 3e-6  # assumed: the least time of a kernel
REDUCTION_S = 20e-6  # assumed: a reduction of a few numbers over the GPUs of one machine
GRADIENTS_BYTES_PER_S = 200e9  # assumed: all gradients over NVLink
# Launches of a step, counted; the host's seconds of each, measured on the null device and assumed for the driver.
LAUNCHES = {"TF32": 1_600, "bf16": 1_994}
LAUNCH_S = 20e-6 + 2.5e-6
DRAWS = 20  # steps of which a mean is taken
PARTS = 8  # of the pool
VALIDATED = 30  # archs that rank each epoch


@dataclass
class Clock:
    """Adds up what kernels take for a batch of images on one GPU."""

    precision: str
    batch: int
    s: float = 0.0
    macs: float = 0.0
    kernels: int = 0
    norms: float = 0.0

    def op(self, op: Op, before: int, after: int, *, times: int = 1, also_read: float = 0) -> None:
        """Convolutions from `before` to `after` pixels a side, and the elements of an image that they also read."""
        macs = self.batch * op.weights * after**2
        moved = self.batch * (op.inputs * before**2 + op.out * after**2 + also_read) * BYTES[self.precision]
        self._kernels(max(macs / MACS_PER_S[self.precision], moved / BYTES_PER_S, KERNEL_S), times)
        self.macs += times * macs

    def touch(self, elements: float, passes: float) -> None:
        """A kernel that moves the elements of an image so many times."""
        moved = self.batch * elements * passes * BYTES[self.precision]
        self._kernels(max(moved / BYTES_PER_S, KERNEL_S), 1)

    def _kernels(self, seconds: float, times: int) -> None:
        self.s += times * seconds
        self.kernels += times


def sized(block: Block, side: int) -> Iterator[tuple[Op, int, int]]:
    """The operations of a block with the sides of their inputs and outputs, those of the main path first."""
    before = side
    for place, (op, after) in enumerate(zip(block.ops(), block.sides(side), strict=True)):
        yield op, side if place >= len(block.main) else before, after
        before = after


def trained(space: Space, archs: Iterable[tuple[Arch, int]], precision: str, batch: int) -> Clock:
    """Forward and backward pass of archs with the resolutions of their images."""
    clock = Clock(precision, batch)
    for arch, resolution in archs:
        sides = space.sides(resolution)
        for place, block in space.blocks(arch):
            for op, before, after in sized(block, sides[place]):
                n = op.out * after**2
                clock.op(op, before, after, times=2 if place == 0 else 3)  # forward, by the weights, by the input
                for passes in (1, 2, 2, 3):  # the norm: statistics, normalise; their backward passes
                    clock.touch(n, passes)
                clock.norms += 1
                if op.act != "none":
                    clock.touch(n, 2)
                    clock.touch(n, 3)
            if block.shortcut is not None:
                for passes in (3, 2, 3, 3):  # the sum, what follows; its backward pass, the sum of two gradients
                    clock.touch(n, passes)
            if block.pool:
                clock.touch(n, 1.25)
                clock.touch(n, 1.25)
    return clock


def sandwich(space: Space, config: Config, precision: str, batch: int) -> Clock:
    """The mean of a few steps by the sandwich rule: largest, drawn and smallest arch."""
    rng, clock, sides = random.Random(0), Clock(precision, batch), config.training.resolutions
    turns = cycle(sides)  # each resolution is as frequent as the others
    for _ in range(DRAWS):
        drawn = [random_arch(space, rng, space.pool_options) for _ in range(config.training.random_subnets)]
        archs = [(space.largest, max(sides)), (space.extreme(space.pool_options, largest=False), min(sides))]
        step = trained(space, [*archs, *((arch, next(turns)) for arch in drawn)], precision, batch)
        clock.s, clock.macs = clock.s + step.s / DRAWS, clock.macs + step.macs / DRAWS
        clock.norms += step.norms / DRAWS
    return clock


def scored(space: Space, unit: WorkUnit, precision: str, batch: int, way: str) -> Clock:
    """A batch through the tree of a unit, as it is calibrated, as it was scored, or scored with fused kernels."""
    clock, sides = Clock(precision, batch), space.sides()
    for step in unit.steps:
        if isinstance(step, Leaf):
            continue
        place, block = step.placed.home[0], step.block
        last = len(block.main) - 1
        for number, (_, before, after) in enumerate(sized(block, sides[place])):
            computed = step.ops()[number]
            if computed is None:
                continue
            n, sums = computed.out * after**2, number == last and block.shortcut is not None
            clock.op(computed, before, after, also_read=n * (sums and way == "fused"))
            passes: Sequence[int] = {"calibrate": (1, 2), "plain": (2,), "fused": ()}[way]  # norm; bias; neither
            if way != "fused":
                passes = (*passes, *(3,) * sums, *(2,) * (computed.act != "none" or sums))
            for each in passes:
                clock.touch(n, each)
        if not step.hidden and len(block.main) > 1:
            clock.touch(block.main[0].out * block.sides(sides[place])[0] ** 2, 2)  # a sibling's slice is copied
        if block.pool:
            clock.touch(block.out * sides[place + 1] ** 2, 5)
    return clock


def seconds(step: Clock, gpus: int, parameters: int = 34_000_000) -> float:
    """Of a training step: the longer of kernels and host, and the reductions of norms and gradients over the GPUs."""
    reduced = (2 * step.norms * REDUCTION_S + 4 * parameters / GRADIENTS_BYTES_PER_S) * (gpus > 1)
    return max(step.s, LAUNCHES[step.precision] * LAUNCH_S) + reduced


def hours(
    config: Config, plan: Plan, archs: Sequence[Arch], precision: str, gpus: int
) -> dict[str, tuple[float, float]]:
    """Hours of each part, and its multiply-adds."""
    space, found = config.space.build(), {}
    for name, recipe, phases in (("one-shot", config.training, 1), ("six phases", config.few_shot, PHASES)):
        step = sandwich(space, config, precision, recipe.batch_size // gpus)
        steps = phases * recipe.epochs * (TRAIN // recipe.batch_size)
        found[name] = steps * seconds(step, gpus) / 3600, steps * step.macs * gpus
    every = config.evaluation
    each, macs = per_network(space, plan, precision, every.calibration_images, TEST, every.calibration_batch)
    share = PARTS * plan.networks  # all parts are drawn alike
    found["45,000 archs in eight parts"] = share * each / gpus / 3600, share * macs
    epochs = config.training.epochs + PHASES * config.few_shot.epochs
    each, macs = per_network(space, plan, precision, every.calibration_images, 2_500, every.calibration_batch)
    found[f"validations: {VALIDATED} archs each epoch"] = tuple(
        epochs * VALIDATED * value / scale for value, scale in ((each, 3600 * gpus), (macs, 1))
    )
    recipe = config.stand_alone
    batch = min(256, recipe.batch_size // gpus)  # more do not fit into one GPU in float32
    step = trained(space, [(arch, space.resolution) for arch in archs], precision, batch)
    steps = ALONE * recipe.epochs * TRAIN / (batch * gpus)
    s, macs = step.s / len(archs), step.macs / len(archs)
    found[f"ground truth: {ALONE} archs alone"] = steps * s / 3600, steps * macs * gpus
    return found


def per_network(
    space: Space, plan: Plan, precision: str, calibration: int, images: int, batch: int, way: str = "fused"
) -> tuple[float, float]:
    """Seconds and multiply-adds of a network of a plan: the mean over a few units."""
    units = plan.units[:: max(1, len(plan.units) // 5)][:5]
    ways = ((batch, "calibrate"), (1024, way))
    clocks = [[scored(space, unit, precision, at_once, each) for at_once, each in ways] for unit in units]
    networks = sum(len(unit.members) for unit in units)
    s = sum(one.s * calibration / batch + two.s * images / 1024 for one, two in clocks)
    macs = sum(one.macs * calibration / batch + two.macs * images / 1024 for one, two in clocks)
    return s / networks, macs / networks


def added(parts: Iterable[tuple[float, float]]) -> list[float]:
    """Hours and multiply-adds of some parts together."""
    return [sum(each) for each in zip(*parts, strict=True)]


def main() -> None:
    """Print the tables."""
    config = load_config(ROOT / "configs" / "imagenet.yml")
    space, parts = config.space.build(), archs_of(config)
    plan = make_plan(by_width(space, 7), parts[0], unit_networks=UNIT_NETWORKS, num_classes=CLASSES)
    columns = [(precision, gpus) for gpus in (1, 8) for precision in MACS_PER_S]
    found = {column: hours(config, plan, parts[0][:40], *column) for column in columns}
    print("| part | multiply-adds | " + " | ".join(f"{gpus} x {precision}, h" for precision, gpus in columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    names = list(found[columns[0]])
    sums = {"the mission": names[:-1], "with the ground truth": names}
    for name in (*names, *sums):
        row = [added(found[column][part] for part in sums.get(name, [name])) for column in columns]
        print(f"| {name} | {row[0][1]:.2e} | " + " | ".join(f"{each[0]:.1f}" for each in row) + " |")
    heads = (f"{precision}: kernels, host, step, ms" for precision in MACS_PER_S)
    print("\n| images on a GPU | " + " | ".join(heads) + " | bf16 is faster by |")
    print("|---|---|---|---|")
    for batch in (32, 64, 128, 256, 512, 1024):
        steps = [sandwich(space, config, precision, batch) for precision in MACS_PER_S]
        times = [1e3 * seconds(step, 8) for step in steps]
        hosts = (1e3 * LAUNCHES[step.precision] * LAUNCH_S for step in steps)
        shown = [f"{1e3 * step.s:.0f}, {host:.0f}, {t:.0f}" for step, host, t in zip(steps, hosts, times, strict=True)]
        print(f"| {batch} | " + " | ".join(shown) + f" | {times[0] / times[1]:.2f} |")
    print(f"\n{steps[0].norms:.0f} norms in the archs of a step, reduced once forward and once backward")
    for precision in MACS_PER_S:
        each = {way: per_network(space, plan, precision, 8192, TEST, 128, way)[0] for way in ("plain", "fused")}
        print(f"a network in {precision}: {each['plain']:.2f} s as before, {each['fused']:.2f} s with fused kernels")


if __name__ == "__main__":
    main()
