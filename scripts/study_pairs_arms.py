"""What makes a supernet's ranking agree better with the truth at equal cost? One arm with one seed, trained and scored.

    python scripts/study_pairs_arms.py ARM SEED [TRUTH]

Written before anything ran:

- Question. Supernets of different training err alike: archs that compute much and those with a wide first stage are
  underrated, those with a wide last stage are overrated. Which change of the training takes that away, at equal cost?
- Cost. Every arm sees 60,000 training images, the first ones of configs/fashion_pairs.yml, in batches of 128; each
  image passes through four archs, forwards and backwards. `warm` gives 12,000 images' worth of that to 24,000 images
  through the largest net alone, which computes about half of what the four do together. `adapted` costs extra, and
  its cost is given per arch.
- Arms. `default`: as configs/fashion_pairs.yml, for one epoch. `channel_depth`, `channel`: gradients scaled by how
  often a weight is trained. `average`: the weights' exponential average with a horizon of a fifth of the training; it
  is a by-product of `default` and costs nothing. `pairs`: plus a loss for each pair of a step's archs of which the one
  with more multiply-adds loses more, its gradient on that one only, its weight rising to 2 over the first 30 %.
  `warm`: 24,000 images through the largest net alone at a rate of 0.3, then 48,000 through the supernet. `bignas`:
  fixed ends and the largest as the teacher, as published. `split1`, `split2`, `split7`: 40,000 images one-shot, then
  20,000 at a rate of 0.05 with 1, 2 and 7 groups by width; the three share their first part (`parent`).
  `adapted16`, `adapted32`: each scored arch taken out of the default supernet and trained alone for 16 and 32 steps
  of 128 images, SGD from a rate of 0.1 to 0.
- Added after the first results: `plain` and `plain_long`, the nets of `default` and of a supernet trained for 180,000
  images, to compare measures (top-1, mean probability, mean log-probability) on the same nets.
- Seeds. Three for `default`, `average` and `channel_depth`, two for the others if there is time, else one.
- Judged by the archs of gt_arch200.json that have a truth at the end: tau of the mean probability on the first 2,500
  ranking images, calibrated on 512, averaged over the seeds, and its difference to the default on the same resamples
  of archs. An arm becomes the default if that interval excludes 0. The two halves of the truth are shown beside it.
- The split. Parent and children score the same archs: before training they are identical, so what moves apart in
  `split2` and not in `split1` is the split's.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.cli import run
from fewshot_nas.config import Config, load_config
from fewshot_nas.data.images import Images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.accuracy import Accuracy
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.files import read_json, write_json
from fewshot_nas.models.checkpoint import load_supernet, read_checkpoint
from fewshot_nas.models.inherit import inherit
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.results import PhaseDirectory
from fewshot_nas.runs import Run, seed_weights
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.sampling import largest
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.training.optimizer import cosine, plain_groups, set_rate, sgd
from fewshot_nas.training.sandwich import Answer
from fewshot_nas.training.stand_alone import learn
from fewshot_nas.training.supernet_task import SupernetTask

HOME = Path("results") / "pairs_arms"
POOL = Path("json_file/json8/part1.json")
ARCHS = 200
BATCH = 128
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
        groups: how many it has.
    """

    images: range = range(60_000)
    settings: tuple[str, ...] = ()
    after: str | None = None
    groups: int = 1
    paired: bool = False
    alone: bool = False


PARTS = {
    "default": Part(),
    "channel_depth": Part(settings=("training.gradient_scale=channel_depth",)),
    "channel": Part(settings=("training.gradient_scale=channel",)),
    "pairs": Part(paired=True),
    "largest": Part(range(24_000), alone=True),
    "warm": Part(range(12_000, 60_000), after="largest"),
    "bignas": Part(settings=("training.extremes=space", "training.distill=sandwich")),
    "parent": Part(range(40_000)),
    "split1": Part(range(40_000, 60_000), after="parent"),
    "split2": Part(range(40_000, 60_000), after="parent", groups=2),
    "split7": Part(range(40_000, 60_000), after="parent", groups=7),
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


@dataclass
class PairedTask(SupernetTask):
    """A phase whose steps have a pairwise loss with a rising weight."""

    steps: int = 1

    def backward(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        weight = 2 * min(1.0, step / (0.3 * self.steps))
        classes = self.network.num_classes
        loss = Pairwise(weight, lambda arch: total_cost(self.network.space, arch, num_classes=classes).macs)
        return replace(self.sandwich, loss=loss).backward(self.network, images, labels, step)


@dataclass(frozen=True)
class PartRun(Run):
    """Trains on a part of the images, with an average of the weights and, if wanted, a pairwise loss."""

    part: Part = field(default_factory=Part)

    @cached_property
    def data(self) -> ImageData:
        whole = Run(self.save, self.config, self.world, self.resume, self.report).data
        chosen = torch.tensor(self.part.images)
        return replace(whole, train=whole.train.select(chosen))

    def _supernet_task(self, *arguments: Any) -> tuple[SupernetTask, Images]:
        task, images = super()._supernet_task(*arguments)
        steps = -(-len(images) // BATCH)
        average = Average(task.network, steps)
        task.optimizer.register_step_post_hook(average)
        task.memory = {**task.memory, "average": average}
        return (PairedTask(**vars(task), steps=steps) if self.part.paired else task), images


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
    running = PartRun(HOME.name, config, world, True, print, part)

    def start() -> Supernet:
        seed_weights(seed)
        if parent is None:
            return Supernet(by_width(running.space, 1), running.data.num_classes)
        supernet = load_supernet(parent)
        return inherit(supernet, by_width(running.space, part.groups)) if part.groups > 1 else supernet

    section = "few_shot" if part.after == "parent" else "training"
    home.path.mkdir(parents=True, exist_ok=True)
    running.train_phase(section, home, start, {"part": name})
    return home.chosen


def train_largest(name: str, seed: int, world: World) -> Path:
    """Train the largest net alone, and write it as a supernet."""
    from fewshot_nas.models.checkpoint import save_supernet

    target = directory(name, seed).chosen
    if target.exists():
        return target
    running = PartRun(HOME.name, settings(seed, ()), world, True, print, PARTS[name])
    seed_weights(seed)
    network = Subnet(running.space, largest(running.space), running.data.num_classes)
    train_alone(network, running.data, range(0, len(running.data.train), BATCH), 0.3)
    supernet = Supernet(by_width(running.space, 1), running.data.num_classes)
    with torch.no_grad():
        for ours, theirs in zip(supernet.weights(largest(running.space)).tensors(), network.parameters(), strict=True):
            ours.copy_(theirs)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_supernet(target, supernet)
    return target


def train_alone(network: Subnet, data: ImageData, starts: Sequence[int], lr: float) -> None:
    """One pass over some batches of the training images, the rate falling to 0; gradients are clipped at 1."""
    from fewshot_nas.data.transforms import normalize

    optimizer, rate = sgd(plain_groups(network, 1e-5), 0.9), cosine(lr, len(starts), 0)
    for step, first in enumerate(starts):
        indices = torch.arange(first, min(first + BATCH, len(data.train)))
        optimizer.zero_grad(set_to_none=True)
        images = normalize(torch.as_tensor(data.train.pixels(indices)), data.mean, data.std)
        learn(network, images, data.train.labels[indices], 0.0, "fp32")
        nn.utils.clip_grad_value_(network.parameters(), 1.0)
        set_rate(optimizer, rate(step))
        optimizer.step()


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
    # The long one is the part `oneshot` of scripts/study_fashion_pairs.sh.
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
    with joined("cpu", 1) as world:
        running = PartRun(HOME.name, settings(seed, ()), world, True, print, Part())
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
