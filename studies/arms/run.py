"""What makes a supernet's ranking agree better with the truth at equal cost? One arm with one seed, trained and scored.

    python -m studies.arms.run ARM SEED [TRUTH]

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import random
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate, product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.cli.main import run
from fewshot_nas.computing import DefaultSettings
from fewshot_nas.config import Config, load_config
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Accuracy, Inputs
from fewshot_nas.evaluation.naive import calibrate
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import load_supernet, read_checkpoint
from fewshot_nas.models.subnet import Subnet, extract, inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.running.run import Run, seed_weights
from fewshot_nas.running.supernets import SupernetTraining
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch, Options, Space, random_arch
from fewshot_nas.space.split import Split, by_width
from fewshot_nas.training.draws import Sampler
from fewshot_nas.training.loop import cosine, set_rate
from fewshot_nas.training.step import Answer, SupernetStep
from fewshot_nas.training.supernet_task import SupernetTask
from fewshot_nas.training.task import Batch, Learning, Trained, plain_groups, sgd
from studies.arms.gradient_scale import Kind, chances, gradient_scale
from studies.arms.splits import by_depth, by_table
from studies.remembering import RememberingTask

HOME = Path("results") / "pairs_arms"
POOL = Path("json_file/json8/part1.json")
ARCHS = 200
BATCH = 128
SIMILAR_BATCHES = 16
HORIZON = 0.2  # of the average of the weights, as a share of the training
COMMON = (
    "training.epochs=1",
    "few_shot.epochs=1",
    "few_shot.lr=0.05",
    "data.valid_images=2500",
    "evaluation.calibration_images=512",
    "evaluation.every_epochs=100",
    "run.checkpoint_steps=50",
    "run.ground_truth=results/pairs_none.json",
)


@dataclass(frozen=True)
class Part:
    """A part of an arm's training.

    Attributes:
        images: which of the training images it sees.
        after: the part that it goes on from, with the same seed.
        split: makes its split, from its parent's supernet and the images.
        archs: makes a step's archs of the space, the options and the seed, if not as usual.
    """

    images: range = range(60_000)
    settings: tuple[str, ...] = ()
    after: str | None = None
    split: Callable[[Supernet, ImageData], Split] | None = None
    archs: Callable[[Space, Options, int], Sampler] | None = None
    paired: bool = False
    alone: bool = False
    scale: Kind | None = None


@dataclass(frozen=True)
class Weighted:
    """Archs whose out digits are drawn by weight, in place of `RandomArchs`, and of the two ends as well."""

    space: ResNetSpace
    options: Options
    seed: int
    by_width: bool

    def arch(self, draw: int) -> Arch:
        """Independent of all other draws."""
        rng = random.Random(f"{self.seed}/weighted/{draw}")
        arch = list(random_arch(self.space, rng, self.options))
        for number, slot in enumerate(self.space.slots):
            if self.by_width and slot.role == "out":
                arch[number] = self._out(rng, slot.stage, self.options[number])
        return tuple(arch)

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """Two draws more."""
        return self.arch(-2 * step - 1), self.arch(-2 * step - 2)

    def _out(self, rng: random.Random, stage: int, digits: Sequence[int]) -> int:
        weights = [*accumulate(self.space.width(stage, digit) for digit in digits)]
        return digits[bisect_right(weights, rng.random() * weights[-1])]


def drawn(by_width: bool, space: Space, options: Options, seed: int) -> Sampler:
    """Four archs a step, none of them an end of the space."""
    archs = Weighted(resnets(space), options, seed, by_width)
    return Sampler(archs, archs, 2)


def resnets(space: Space) -> ResNetSpace:
    """The space, which has digits and widths."""
    assert isinstance(space, ResNetSpace)
    return space


def widths(groups: int, supernet: Supernet, data: ImageData) -> Split:
    """The rule by width."""
    return by_width(supernet.space, groups)


def last_depths(supernet: Supernet, data: ImageData) -> Split:
    """The last two stages in two spans of depths."""
    stages = supernet.space.stages
    return by_depth(supernet.space, (stages - 2, stages - 1), 2)


def similar(supernet: Supernet, data: ImageData) -> Split:
    """Each stage's widths in two groups by their gradients."""
    space, tables = resnets(supernet.space), []
    for stage in range(space.stages):
        group = halves(cosines(gradients(supernet, data, stage)))
        least, most = space.depths[stage]
        widths = {space.width(stage, digit) for digit in range(1, space.digits + 1)}
        narrower = [0] * (len(widths) - len(group))  # than any of the pool
        tables.append([[each] * (most - least + 1) for each in narrower + group])
    print(f"groups of the widths by gradients: {[[row[0] for row in table] for table in tables]}", flush=True)
    return by_table(space, tables, "similar2")


def gradients(supernet: Supernet, data: ImageData, stage: int) -> Tensor:
    """For each width of a stage in the pool, the mean gradient of the weights that all of them share.

    Returns:
        [widths, weights], the widths ascending.
    """
    space, options = resnets(supernet.space), supernet.space.pool_options
    slot = space.stages + stage  # of the output width
    by_width = {space.width(stage, digit): digit for digit in options[slot]}
    found = []
    for digit in (by_width[width] for width in sorted(by_width)):
        supernet.zero_grad()
        for number in range(SIMILAR_BATCHES):
            arch = list(random_arch(space, random.Random(f"similar/{stage}/{number}"), options))
            arch[slot] = digit
            images, labels = batch(data, number * BATCH)
            F.cross_entropy(supernet(images, tuple(arch)), labels).backward()  # type: ignore[no-untyped-call]
        own = [
            torch.zeros_like(each) if each.grad is None else each.grad
            for home in supernet.split.homes
            if space.places[home[0]].stage == stage
            for each in supernet.stored(home).parameters()
        ]
        found.append(torch.cat([each.flatten() for each in own]))
    stacked = torch.stack(found)
    supernet.zero_grad()
    return stacked[:, stacked[0] != 0]


def cosines(vectors: Tensor) -> Tensor:
    """Of all pairs of rows."""
    unit = F.normalize(vectors)
    return unit @ unit.T


def halves(alike: Tensor) -> list[int]:
    """The group, 0 or 1, of each row: those of a group are more alike, on average, than those of different groups."""
    count = len(alike)
    options = [[0, *each] for each in product((0, 1), repeat=count - 1) if any(each)]
    pairs = [(one, other) for one in range(count) for other in range(one)]

    def gain(groups: list[int]) -> float:
        kinds: dict[bool, list[float]] = {True: [1.0], False: []}  # alone in a group: as alike as can be
        for one, other in pairs:
            kinds[groups[one] == groups[other]].append(float(alike[one, other]))
        return fmean(kinds[True][1:] or kinds[True]) - fmean(kinds[False])

    return max(options, key=gain)


PARTS = {
    "default": Part(),
    "channel_depth": Part(scale="channel_depth"),
    "channel": Part(scale="channel"),
    "pairs": Part(paired=True),
    "largest": Part(range(24_000), alone=True),
    "warm": Part(range(12_000, 60_000), after="largest"),
    "bignas": Part(settings=("training.extremes=space", "training.distill=sandwich")),
    "parent": Part(range(40_000)),
    "split1": Part(range(40_000, 60_000), after="parent"),
    "split2": Part(range(40_000, 60_000), after="parent", split=partial(widths, 2)),
    "split7": Part(range(40_000, 60_000), after="parent", split=partial(widths, 7)),
    "depth2": Part(range(40_000, 60_000), after="parent", split=last_depths),
    "similar2": Part(range(40_000, 60_000), after="parent", split=similar),
    "rate": Part(settings=("training.lr=0.3",)),
    "drawn": Part(archs=partial(drawn, False)),
    "wide": Part(archs=partial(drawn, True)),
}
ADAPTED = {"plain": 0, "plain_long": 0, "adapted16": 16, "adapted32": 32}  # steps


class Average:
    """An exponential average of a network's parameters, as a hook after each of the optimizer's steps."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        self._network, self._decay = network, 1 - 1 / (HORIZON * steps)
        self._values = {name: each.detach().clone() for name, each in network.named_parameters()}

    @torch.no_grad()
    def __call__(self, *_: object) -> None:
        for name, parameter in self._network.named_parameters():
            self._values[name].lerp_(parameter, 1 - self._decay)

    def state_dict(self) -> Mapping[str, Any]:
        return {name: value.clone() for name, value in self._values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in self._values.items():
            value.copy_(state[name])


@dataclass(frozen=True)
class Pairwise:
    """An arch that computes more than another should lose less; where it does not, its own loss counts more.

    Attributes:
        weight: of a pair in the wrong order.
        macs: multiply-adds of an arch.
    """

    weight: float
    macs: Callable[[Arch], int]

    def backward(self, answers: Iterator[Answer]) -> Tensor:
        """All archs run first: how much an arch's loss counts depends on the others'."""
        asked = list(answers)
        losses = torch.stack([answer.loss() for answer in asked])
        macs = torch.tensor([self.macs(answer.arch) for answer in asked])
        wrong = (macs[:, None] > macs[None]) & (losses[:, None] > losses[None])
        (losses * (1 + self.weight * wrong.sum(1))).sum().backward()
        return losses.detach()


@dataclass(frozen=True)
class PairedStep(SupernetStep):
    """Has a pairwise loss whose weight rises over the steps of the training."""

    steps: int = 1

    def backward(self, network: Supernet, batch: Batch) -> Trained:
        weight = 2 * min(1.0, batch.step / (0.3 * self.steps))
        loss = Pairwise(weight, lambda arch: network.space.cost(arch, num_classes=network.num_classes).macs)
        return super(PairedStep, replace(self, loss=loss)).backward(network, batch)


@dataclass(frozen=True, kw_only=True)
class PartRun(Run):
    """Has a part of the images."""

    part: Part

    @cached_property
    def data(self) -> ImageData:
        whole = super().data
        return replace(whole, train=whole.train.select(torch.tensor(self.part.images)))


@dataclass(frozen=True, kw_only=True)
class PartTraining(SupernetTraining):
    """Has an average of the weights and, if wanted, other archs, a pairwise loss or scaled gradients."""

    part: Part

    def task(self, supernet: Supernet) -> SupernetTask:
        task, part, run = super().task(supernet), self.part, self.run
        if part.archs:
            task.step = replace(task.step, sampler=part.archs(run.space, task.options, run.config.run.seed))
        steps = -(-len(run.data.train) // BATCH)
        average = Average(task.network, steps)
        task.optimizer.register_step_post_hook(average)
        if part.scale:
            likely = chances(run.space, task.options, self.settings.random_subnets)
            task.optimizer.register_step_pre_hook(gradient_scale(task.network, likely, part.scale))
        if part.paired:
            task.step = PairedStep(**vars(task.step), steps=steps)
        return RememberingTask(**vars(task), memory={"average": average})


def directory(name: str, seed: int) -> PhaseDirectory:
    """Where a part keeps its files."""
    return PhaseDirectory(HOME / f"{name}_s{seed}")


def train(name: str, seed: int, world: World) -> Path:
    """Train a part, and before it the part that it goes on from; its supernet's file."""
    part, home = PARTS[name], directory(name, seed)
    parent = train(part.after, seed, world) if part.after else None
    if part.alone:
        return train_largest(name, seed, world)
    config = settings(seed, part.settings)
    running = PartRun(save=HOME.name, config=config, world=world, resume=True, report=print, part=part)

    def start() -> Supernet:
        seed_weights(seed)
        if parent is None:
            return Supernet(by_width(running.space, 1), running.data.num_classes)
        supernet = load_supernet(parent)
        return inherit(supernet, part.split(supernet, running.data)) if part.split else supernet

    settings_of = config.few_shot if part.after == "parent" else config.training
    home.path.mkdir(parents=True, exist_ok=True)
    PartTraining(
        run=running, directory=home, settings=settings_of, start=start, facts={"part": name}, part=part
    ).carry_out()
    return home.chosen


def train_largest(name: str, seed: int, world: World) -> Path:
    """Train the largest net alone, and write it as a supernet."""
    from fewshot_nas.models.checkpoint import save_supernet

    target = directory(name, seed).chosen
    if target.exists():
        return target
    config, part = settings(seed, ()), PARTS[name]
    running = PartRun(save=HOME.name, config=config, world=world, resume=True, report=print, part=part)
    seed_weights(seed)
    network = Subnet(running.space, running.space.largest, running.data.num_classes)
    train_alone(network, running.data, range(0, len(running.data.train), BATCH), 0.3)
    supernet = Supernet(by_width(running.space, 1), running.data.num_classes)
    with torch.no_grad():
        for ours, theirs in zip(supernet.tensors(running.space.largest).tensors(), network.parameters(), strict=True):
            ours.copy_(theirs)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_supernet(target, supernet)
    return target


def train_alone(network: Subnet, data: ImageData, starts: Sequence[int], lr: float) -> None:
    """One pass over some batches of the training images, the rate falling to 0; gradients are clipped at 1."""
    optimizer, rate = sgd(plain_groups(network, 1e-5), 0.9), cosine(lr, len(starts), 0)
    for step, first in enumerate(starts):
        optimizer.zero_grad(set_to_none=True)
        Learning(0.0, "fp32").backward(network, Batch(*batch(data, first), step))
        nn.utils.clip_grad_value_(network.parameters(), 1.0)
        set_rate(optimizer, rate(step))
        optimizer.step()


def batch(data: ImageData, first: int) -> tuple[Tensor, Tensor]:
    """Some training images, normalised, with their labels."""
    from fewshot_nas.data.transforms import normalize

    indices = torch.arange(first, min(first + BATCH, len(data.train)))
    return normalize(torch.as_tensor(data.train.pixels(indices)), data.mean, data.std), data.train.labels[indices]


def settings(seed: int, more: Sequence[str]) -> Config:
    """Those of configs/fashion_pairs.yml with what all arms share."""
    return load_config(Path("configs/fashion_pairs.yml"), [*COMMON, f"run.seed={seed}", *more])


def archs() -> dict[str, Arch]:
    """Those of the ground truth: the first of the pool."""
    return {arch_id: entry.arch for arch_id, entry in list(read_arch_file(POOL, SPACES["px28"]).items())[:ARCHS]}


def score(path: Path, supernet: Supernet, inputs: Inputs) -> None:
    """Write top-1 and mean probability of each arch to a file, unless it is there."""
    if path.exists():
        return
    chosen = archs()
    found = Scorer(supernet, inputs).scores(list(chosen.values()))
    write_json(path, _rounded(dict(zip(chosen, found, strict=True))))
    print(f"scored: {path}", flush=True)


def _rounded(found: Mapping[str, Accuracy]) -> dict[str, dict[str, float]]:
    return {
        metric: {arch_id: round(getattr(each, metric), 4) for arch_id, each in found.items()}
        for metric in ("top1", "prob")
    }


def averaged(supernet: Supernet, last: Path) -> Supernet:
    """A supernet with the average of the weights that its training left."""
    supernet.load_state_dict(read_checkpoint(last)["average"])
    return supernet


def adapt(name: str, seed: int, running: Run, inputs: Inputs, wanted: Path | None) -> None:
    """Train each arch alone for some steps from the default supernet's weights, then score; each arch is kept."""
    path, steps = HOME / f"{name}_s{seed}.json", ADAPTED[name]
    # The long one is the part `oneshot` of studies/pairs/run.sh.
    home = Path(f"results/pairs_oneshot_s{seed}") if name == "plain_long" else directory("default", seed).path
    supernet, chosen = load_supernet(PhaseDirectory(home).chosen), archs()
    ids = [arch_id for arch_id in (read_json(wanted) if wanted else chosen) if arch_id in chosen]
    found: dict[str, dict[str, float]] = read_json(path) if path.exists() else {"top1": {}, "prob": {}, "log": {}}
    for arch_id in ids:
        if arch_id in found["prob"]:
            continue
        network = extract(supernet, chosen[arch_id])
        train_alone(network, running.data, range(0, steps * BATCH, BATCH), 0.1)
        calibrate(network, inputs.calibration_batches())
        for metric, value in measured(network, inputs).items():
            found[metric][arch_id] = value
        write_json(path, found)


@torch.no_grad()
def measured(network: Subnet, inputs: Inputs) -> dict[str, float]:
    """Top-1 and the labels' mean probability in percent, and the mean logarithm of that probability."""
    parts = [(network(images), labels) for images, labels in inputs.scoring_batches()]
    logits, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    top1, log = (logits.argmax(1) == labels).double().mean(), -F.cross_entropy(logits, labels)
    prob = logits.softmax(1).gather(1, labels[:, None]).mean()
    return {"top1": round(100 * top1.item(), 4), "prob": round(100 * prob.item(), 4), "log": round(log.item(), 5)}


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score an arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=[*PARTS, *ADAPTED])
    parser.add_argument("seed", type=int)
    parser.add_argument("truth", type=Path, nargs="?", help="adapt the archs of this file only")
    options = parser.parse_args(argv)
    name, seed = options.arm, options.seed
    with joined("cpu", DefaultSettings(threads=1)) as world:
        running = PartRun(
            save=HOME.name, config=settings(seed, ()), world=world, resume=True, report=print, part=Part()
        )
        inputs = running.inputs(running.data.valid)
        if name in ADAPTED:
            adapt(name, seed, running, inputs, options.truth)
            return 0
        path = train(name, seed, world)
        score(HOME / f"{name}_s{seed}.json", load_supernet(path), inputs)
        if name == "default":
            last = directory(name, seed).last
            score(HOME / f"{name}_average_s{seed}.json", averaged(load_supernet(path), last), inputs)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
