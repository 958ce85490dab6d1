"""Speed of a training step: ours against the straightforward one, and where the time goes.

    python benchmarks/train_step.py [--space track1] [--precision fp32] [--threads N] [--rounds 7]
    python benchmarks/train_step.py --count      operations per step instead of time

Both train the same four subnets a step on the same images, in turns, so that a busy neighbour
slows both. Straightforward is: autograd through sliced views, the library's convolutions, four
backward passes into one set of gradients, torch's SGD. Without options all four cases run.
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from counting import operations
from machine import duration_s, matmul_gflops
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.distributed import World
from fewshot_nas.models.run import ConvNorm, SubnetTensors, convolve_plainly
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.block import Op
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Space
from fewshot_nas.space.split import by_width
from fewshot_nas.training.draws import RandomArchs, Sampler, SpaceEnds
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Loop, Schedule, set_rate
from fewshot_nas.training.step import Largest, Regularization, SupernetStep
from fewshot_nas.training.supernet_task import multipliers, parameter_groups
from fewshot_nas.training.task import Batch, Source, Trained, sgd

CASES = {"track1": (32, 64, 1000), "px28": (128, 28, 10)}  # images, their side, classes
SMOOTHING = 0.1
KINDS = {
    "convolutions, backward": ("aten::convolution_backward", "_ProductBackward"),
    "convolutions, forward": ("aten::convolution", "_Product"),
    "batch norms, both ways": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "optimizer": ("aten::_fused_sgd_",),
}


class Ours:
    """The step as `SupernetTask` takes it, in which the largest teaches; for `Loop`, without validation or files."""

    def __init__(self, space: Space, classes: int, precision: Any) -> None:
        self.network = fresh(space, classes)
        smoothed = Regularization(SMOOTHING)
        self.step = SupernetStep(sampler_of(space), teacher=Largest(), regularization=smoothed, precision=precision)
        groups = parameter_groups(self.network, multipliers(by_width(space, 1), space.pool_options, "none"), 1e-5)
        self.optimizer = sgd(groups, 0.9)

    def __call__(self, images: Tensor, labels: Tensor, number: int) -> None:
        self.optimizer.zero_grad()
        self.step.backward(self.network, Batch(images, labels, number))
        torch.nn.utils.clip_grad_value_(self.network.parameters(), 1.0)
        set_rate(self.optimizer, 0.01)
        self.optimizer.step()

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        pass

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        return {}

    def save(self, path: Path, state: object) -> None:
        pass


def sampler_of(space: Space) -> Sampler:
    """Two random archs between the ends of the space."""
    return Sampler(RandomArchs(space, 0, space.pool_options), SpaceEnds(space, 0, space.pool_options), middle=2)


class Straightforward:
    """The step as one would first write it."""

    def __init__(self, space: Space, classes: int, precision: str) -> None:
        self.network, self.precision, self.sampler = fresh(space, classes), precision, sampler_of(space)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), 0.01, 0.9, weight_decay=1e-5, nesterov=True, foreach=True
        )

    def __call__(self, images: Tensor, labels: Tensor, number: int) -> None:
        self.optimizer.zero_grad()
        teacher = None
        for arch in self.sampler.archs(number):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
                logits = forward(self.network.tensors(arch), images).float()
            if teacher is None:
                loss = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
                teacher = logits.detach().softmax(1)
            else:
                loss = F.cross_entropy(logits, teacher)
            loss.backward()
        torch.nn.utils.clip_grad_value_(self.network.parameters(), 1.0)
        self.optimizer.step()


def forward(weights: SubnetTensors, x: Tensor) -> Tensor:
    """Logits, by the library's operations alone; of the blocks of ResNets."""

    def unit(op: Op, part: ConvNorm, x: Tensor) -> Tensor:
        x = convolve_plainly(x, part.conv, op.stride, op.groups)
        x = F.batch_norm(x, None, None, part.weight, part.bias, training=True)
        return F.relu(x) if op.act == "relu" else x

    for block, _, main, shortcut in weights.blocks:
        y = x
        for op, part in zip(block.main, main, strict=True):
            y = unit(op, part, y)
        if block.shortcut is not None:
            for op, part in zip(block.shortcut, shortcut, strict=True):
                x = unit(op, part, x)
            y = F.relu(y + x)
        x = F.max_pool2d(y, 3, 2, 1) if block.pool else y
    return F.linear(x.mean((2, 3)), weights.head.weight, weights.head.bias)


def fresh(space: Space, classes: int) -> Supernet:
    """The same supernet every time."""
    torch.manual_seed(0)
    return Supernet(by_width(space, 1), classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    if options.count:
        for name, precision in itertools.product(options.space, options.precision):
            show_counts(name, precision)
        return
    peak = {precision: matmul_gflops(dtype) for precision, dtype in _DTYPES.items()}
    shown = ", ".join(f"{rate:.0f} GFLOP/s in {precision}" for precision, rate in peak.items())
    print(f"matrix product: {shown}, {options.threads} threads")
    for name, precision in itertools.product(options.space, options.precision):
        _compare(name, precision, options.rounds, peak[precision])
    for name in options.space:
        _wait_for_data(name)


def show_counts(name: str, precision: str) -> None:
    """Operations of a step on two images; their number does not depend on how many there are."""
    space = SPACES[name]
    side = space.resolution
    images, labels = torch.randn(2, space.in_channels, side, side), torch.zeros(2, dtype=torch.long)
    print(f"{name}, {precision}:")
    for way, step in {"ours": Ours, "straightforward": Straightforward}.items():
        run = step(space, 10, precision)
        run(images, labels, 0)  # the first step makes momenta
        counts = operations(lambda run=run: run(images, labels, 1))  # type: ignore[misc]
        kinds = ", ".join(f"{kind} {count}" for kind, count in counts.most_common(12))
        print(f"  {way:15}: {counts.total()} operations: {kinds}")


def _compare(name: str, precision: str, rounds: int, peak: float) -> None:
    space, (batch, side, classes) = SPACES[name], CASES[name]
    sampler = sampler_of(space)
    images = torch.randn(batch, space.in_channels, side, side).to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch,))
    ways = {"ours": Ours(space, classes, precision), "straightforward": Straightforward(space, classes, precision)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    flops = []
    for number in range(rounds + 1):
        archs = sampler.archs(number)
        flops.append(6 * batch * sum(space.cost(arch, resolution=side, num_classes=classes).macs for arch in archs))
        for way, step in ways.items():
            times[way].append(duration_s(lambda step=step, number=number: step(images, labels, number)))
    print(f"{name}, {batch} images of {side} pixels, {precision}:")
    for way, seconds in times.items():
        rate = sum(flops[1:]) / sum(seconds[1:]) / 1e9  # the first round warms up
        share = f"{rate:.0f} GFLOP/s ({100 * rate / peak:.0f} % of the product's)"
        print(f"  {way:15}: {batch / median(seconds[1:]):6.1f} images/s, {share}")
    pairs = zip(*(seconds[1:] for seconds in times.values()), strict=True)
    print(f"  ours is {median(theirs / mine for mine, theirs in pairs):.2f} times as fast")
    _show_kinds(lambda: ways["ours"](images, labels, rounds))


def _show_kinds(step: Any) -> None:
    """Where our step's time goes, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    events = profiled.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    shares = {
        kind: 100 * sum(event.cpu_time_total for event in events if event.key in names) / whole
        for kind, names in KINDS.items()
    }
    for kind, share in {**shares, "the rest": 100 - sum(shares.values())}.items():
        print(f"    {kind}: {share:.0f} %")


def _wait_for_data(name: str) -> None:
    """An epoch of the real loop on images in memory."""
    space, (batch, side, classes) = SPACES[name], CASES[name]
    images = ArrayImages(
        torch.randint(256, (4 * batch, space.in_channels, side, side), dtype=torch.uint8),
        torch.randint(classes, (4 * batch,)),
    )
    source = Source(
        images, train_transform("shift_flip", side), (0.5,) * space.in_channels, (0.25,) * space.in_channels
    )
    schedule = Schedule(
        epochs=1, warmup_epochs=0, batch_size=batch, lr=0.01, clip_value=1.0, seed=0, checkpoint_steps=1000
    )
    with tempfile.TemporaryDirectory() as scratch, RunLog(Path(scratch) / "log", Path(scratch) / "events") as log:
        task: Any = Ours(space, classes, "fp32")
        world = World(0, 1, torch.device("cpu"))
        last = Path(scratch) / "last"
        Loop(task, source, schedule, last, log, world, lambda line: print(f"{name}, in the loop: {line}")).run()


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--precision", choices=_DTYPES, nargs="+", default=list(_DTYPES))
    parser.add_argument("--rounds", type=int, default=7, help="pairs of steps; the median counts (default 7)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of torch (default: its own choice)"
    )
    parser.add_argument("--count", action="store_true", help="count operations instead of measuring time")
    return parser


if __name__ == "__main__":
    main()
