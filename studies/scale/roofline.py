"""Hours of both systems' recipes for ImageNet on A100 and H100 GPUs, by a roofline: no GPU was there to measure on.

    python -m studies.scale.roofline             a few minutes; the hours of docs/imagenet.md, tables of docs/scale.md

A kernel takes what its multiply-adds need at the assumed rate, or its bytes at the assumed bandwidth, or the least time
of a kernel, whichever is longest. Counted are multiply-adds, bytes and kernels of every operation that the program
launches (`python -m tests.null_device` counts the launches of a step). A step takes the longer of its kernels and its
host.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean
from typing import NamedTuple

from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config, load_config
from fewshot_nas.cream.config import RetrainConfig, SearchConfig
from fewshot_nas.evaluation.prefix_tree import Leaf, Plan, WorkUnit, make_plan
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS
from fewshot_nas.space.block import Block, Op
from fewshot_nas.space.space import Arch, Space, random_arch
from fewshot_nas.space.split import by_width
from studies.common import ROOT
from studies.scale.run import ALONE, CLASSES, PHASES, TEST, TRAIN, archs_of


class Gpu(NamedTuple):
    """What is assumed of a GPU.

    Attributes:
        tf32: multiply-adds a second, two fifths of the most that its data sheet promises.
        bytes_per_s: of its memory, 78 % of the data sheet's.
        gradients: bytes a second, of all gradients over NVLink, 45 % of the data sheet's.
    """

    name: str
    tf32: float
    bytes_per_s: float
    gradients: float

    def macs_per_s(self, precision: str) -> float:
        """Twice as many in bf16 as in TF32."""
        return self.tf32 * {"TF32": 1, "bf16": 2}[precision]


H100 = Gpu("H100", 100e12, 2.6e12, 200e9)
A100 = Gpu("A100", 31e12, 1.2e12, 133e9)  # of 40 GB; the one of 80 GB moves a third more
BYTES = {"TF32": 4, "bf16": 2}  # of a number in an activation
KERNEL_S = 3e-6  # assumed: the least time of a kernel
REDUCTION_S = 20e-6  # assumed: a reduction of a few numbers over the GPUs of one machine
# Launches of a step, counted; the host's seconds of each, measured on the null device and assumed for the driver.
LAUNCHES = {"TF32": 1_600, "bf16": 1_994}
LAUNCH_S = 20e-6 + 2.5e-6
DRAWS = 20  # steps of which a mean is taken
TAUGHT = 1.97  # a step of Cream's search, of plain training of its path: measured by benchmarks/cream_step.py
VALIDATED = 30  # archs that rank each epoch

Rows = dict[str, tuple[float, float]]


@dataclass
class Clock:
    """Adds up what kernels take for a batch of images on one GPU."""

    gpu: Gpu
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
        self._kernels(max(macs / self.gpu.macs_per_s(self.precision), moved / self.gpu.bytes_per_s, KERNEL_S), times)
        self.macs += times * macs

    def touch(self, elements: float, passes: float) -> None:
        """A kernel that moves the elements of an image so many times."""
        moved = self.batch * elements * passes * BYTES[self.precision]
        self._kernels(max(moved / self.gpu.bytes_per_s, KERNEL_S), 1)

    def _kernels(self, seconds: float, times: int) -> None:
        self.s += times * seconds
        self.kernels += times


def sized(block: Block, side: int) -> Iterator[tuple[Op, int, int]]:
    """The operations of a block with the sides of their inputs and outputs, those of the main path first."""
    before = side
    for place, (op, after) in enumerate(zip(block.ops(), block.sides(side), strict=True)):
        yield op, side if place >= len(block.main) else before, after
        before = after


def trained(space: Space, archs: Iterable[tuple[Arch, int]], gpu: Gpu, precision: str, batch: int) -> Clock:
    """Forward and backward pass of archs with the resolutions of their images."""
    clock = Clock(gpu, precision, batch)
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
                for passes in (1, 2, 2, 3) * (op.squeeze > 0):  # pooled, scaled; their backward passes
                    clock.touch(n, passes)
            if block.shortcut is not None:
                for passes in (3, 2, 3, 3):  # the sum, what follows; its backward pass, the sum of two gradients
                    clock.touch(n, passes)
            if block.pool:
                clock.touch(n, 1.25)
                clock.touch(n, 1.25)
    return clock


def sandwich(space: Space, config: Config, gpu: Gpu, precision: str, batch: int) -> Clock:
    """The mean of a few steps by the sandwich rule: largest, drawn and smallest arch."""
    rng, clock, sides = random.Random(0), Clock(gpu, precision, batch), config.training.resolutions
    turns = cycle(sides)  # each resolution is as frequent as the others
    for _ in range(DRAWS):
        drawn = [random_arch(space, rng, space.pool_options) for _ in range(config.training.random_subnets)]
        archs = [(space.largest, max(sides)), (space.extreme(space.pool_options, largest=False), min(sides))]
        step = trained(space, [*archs, *((arch, next(turns)) for arch in drawn)], gpu, precision, batch)
        clock.s, clock.macs = clock.s + step.s / DRAWS, clock.macs + step.macs / DRAWS
        clock.norms += step.norms / DRAWS
    return clock


def scored(space: Space, unit: WorkUnit, gpu: Gpu, precision: str, batch: int, way: str) -> Clock:
    """A batch through the tree of a unit, as it is calibrated, as it was scored, or scored with fused kernels."""
    clock, sides = Clock(gpu, precision, batch), space.sides()
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


def seconds(step: Clock, gpus: int, launches: int | None = None, parameters: int = 34_000_000) -> float:
    """Of a training step: the longer of kernels and host, and the reductions of norms and gradients over the GPUs.

    Args:
        launches: of a step, if not those of a supernet's.
    """
    reduced = (2 * step.norms * REDUCTION_S + 4 * parameters / step.gpu.gradients) * (gpus > 1)
    return max(step.s, (launches or LAUNCHES[step.precision]) * LAUNCH_S) + reduced


def hours(config: Config, plan: Plan, archs: Sequence[Arch], gpu: Gpu, precision: str, gpus: int) -> Rows:
    """Hours of each part, and its multiply-adds."""
    space, found = config.space.build(), dict[str, tuple[float, float]]()
    for name, recipe, phases in (("one-shot", config.training, 1), ("six few-shot phases", config.few_shot, PHASES)):
        step = sandwich(space, config, gpu, precision, recipe.batch_size // gpus)
        steps = phases * recipe.epochs * (TRAIN // recipe.batch_size)
        found[name] = steps * seconds(step, gpus) / 3600, steps * step.macs * gpus
    epochs = config.training.epochs + PHASES * config.few_shot.epochs
    for name, images, macs in (
        (f"validations: {VALIDATED} archs after each epoch", 2_500, epochs * VALIDATED * plan.plain_macs / plan.archs),
        ("the scores of 45,000 archs", TEST, plan.macs),
    ):
        s, sampled = per_network(config, plan, gpu, precision, images)
        macs *= config.evaluation.calibration_images + images
        found[name] = macs * s / sampled / gpus / 3600, macs
    alone = config.stand_alone
    batch = min(256, alone.batch_size // gpus)  # more do not fit into one GPU in float32
    step = trained(space, [(arch, space.resolution) for arch in archs], gpu, precision, batch)
    passes = ALONE * alone.epochs * TRAIN / (batch * gpus) / len(archs)
    found[f"a ground truth of your own: {ALONE} archs alone"] = passes * step.s / 3600, passes * step.macs * gpus
    return found


def cream(gpu: Gpu, precision: str, gpus: int) -> Rows:
    """Hours of Cream's published search and of the training of one network, and multiply-adds."""
    search = load(SearchConfig, ROOT / "configs" / "cream_search.yml")
    budget, rng = search.budget(), random.Random(0)
    drawn = [(budget.sample(rng), budget.space.resolution) for _ in range(DRAWS)]
    alone = load(RetrainConfig, ROOT / "configs" / "cream_retrain.yml")
    model, taught = alone.model(), search.META_STA_EPOCH + TAUGHT * (search.EPOCHS - search.META_STA_EPOCH)
    rows: Rows = {}
    for name, space, archs, epochs, batch in (
        ("Cream's search", budget.space, drawn, taught, search.BATCH_SIZE),
        (
            f"Cream's network {alone.MODEL_SELECTION}",
            model.space,
            [(model.arch, model.resolution)],
            alone.EPOCHS + alone.COOLDOWN_EPOCHS,
            alone.BATCH_SIZE,
        ),
    ):
        clocks = [trained(space, [each], gpu, precision, batch // gpus) for each in archs]
        s = fmean(seconds(clock, gpus, clock.kernels, 5_000_000) for clock in clocks)
        steps = epochs * (TRAIN // batch)
        rows[name] = steps * s / 3600, steps * gpus * fmean(clock.macs for clock in clocks)
    return rows


def per_network(
    config: Config, plan: Plan, gpu: Gpu, precision: str, images: int, way: str = "fused"
) -> tuple[float, float]:
    """Seconds and multiply-adds of a network of a plan: the mean over a few units."""
    units, space, every = plan.units[:: max(1, len(plan.units) // 5)][:5], config.space.build(), config.evaluation
    batches = [(every.calibration_batch, "calibrate", every.calibration_images), (1024, way, images)]
    s = macs = 0.0
    for unit in units:
        for batch, each, count in batches:
            clock = scored(space, unit, gpu, precision, batch, each)
            s, macs = s + clock.s * count / batch, macs + clock.macs * count / batch
    networks = sum(len(unit.members) for unit in units)
    return s / networks, macs / networks


def added(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Hours and multiply-adds of some parts together."""
    hours, macs = zip(*parts, strict=True)
    return sum(hours), sum(macs)


def main() -> None:
    """Print the tables."""
    config = load_config(ROOT / "configs" / "imagenet.yml")
    space, parts = config.space.build(), archs_of(config)
    pool = [arch for part in parts for arch in part]
    plan = make_plan(by_width(space, 7), pool, unit_networks=UNIT_NETWORKS, num_classes=CLASSES)
    columns = [(gpu, precision, gpus) for gpu in (A100, H100) for gpus in (1, 8) for precision in BYTES]
    found = {column: hours(config, plan, pool[:40], *column) for column in columns}
    names = list(found[columns[0]])
    for column, rows in found.items():
        rows["all but the ground truth"] = added(rows[name] for name in names[:-1])
        rows |= cream(*column)
    heads = (f"{gpus} {gpu.name}, {precision}" for gpu, precision, gpus in columns)
    print("| hours | multiply-adds | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(columns))
    for name in found[columns[0]]:
        row = [rows[name] for rows in found.values()]
        print(f"| {name} | {row[0][1]:.2e} | " + " | ".join(f"{each[0]:.1f}" for each in row) + " |")
    for gpu in (A100, H100):
        precisions(space, config, gpu)
        for precision in BYTES:
            each = {way: per_network(config, plan, gpu, precision, TEST, way)[0] for way in ("plain", "fused")}
            print(
                f"a network in {precision}: {each['plain']:.2f} s as before, {each['fused']:.2f} s with fused kernels"
            )


def precisions(space: Space, config: Config, gpu: Gpu) -> None:
    """Print what a step takes on each of eight GPUs, by its images and the precision."""
    heads = (f"{precision}: kernels, host, step, ms" for precision in BYTES)
    print(f"\n| images on a {gpu.name} | " + " | ".join(heads) + " | bf16 is faster by |")
    print("|---|---|---|---|")
    for batch in (32, 64, 128, 256, 512, 1024):
        steps = [sandwich(space, config, gpu, precision, batch) for precision in BYTES]
        times = [1e3 * seconds(step, 8) for step in steps]
        hosts = (1e3 * LAUNCHES[step.precision] * LAUNCH_S for step in steps)
        shown = [f"{1e3 * step.s:.0f}, {host:.0f}, {t:.0f}" for step, host, t in zip(steps, hosts, times, strict=True)]
        print(f"| {batch} | " + " | ".join(shown) + f" | {times[0] / times[1]:.2f} |")
    print(f"\n{steps[0].norms:.0f} norms in the archs of a step, reduced once forward and once backward")


if __name__ == "__main__":
    main()
