"""What should a supernet's subnet be scored by? Several scores of the same nets, each archs of a ground truth.

    python -m studies.scores.run --config CONFIG MODEL OUT [section.key=value ...]

Writes the scores of the archs of `run.ground_truth` with the supernet in the file MODEL to the file OUT.

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cli.main import run
from fewshot_nas.computing import DefaultSettings
from fewshot_nas.config import load_config
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.images import calibration_subset
from fewshot_nas.data.sources import fixed_part
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.distributed import joined
from fewshot_nas.evaluation.engine import End, Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.run import HeadTensors
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import write_json
from fewshot_nas.running.images import evaluation_inputs, open_images
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.space import Arch

COUNTS = (2_048, 8_192)  # training images that a classifier of an arch's own is fitted to
SHRINKAGE = 0.01  # of the features' mean variance
DECAY = 1e-4  # of logistic regression
NETWORKS = 32  # at a time, for the features of all images are held

Found = dict[str, float]
Classifier = Callable[[Tensor], Tensor]  # features [N, width] -> logits [N, classes]


@dataclass(frozen=True)
class Known:
    """Features of images with their labels.

    Attributes:
        x: [N, width], float64.
        y: [N].
        classes: how many there are.
    """

    x: Tensor
    y: Tensor
    classes: int

    def first(self, count: int) -> "Known":
        """Those of the first images."""
        return Known(self.x[:count], self.y[:count], self.classes)

    @property
    def one_hot(self) -> Tensor:
        """The labels, [N, classes]."""
        return F.one_hot(self.y, self.classes).to(self.x)


def main(argv: Sequence[str] | None = None) -> int:
    """Score, unless the scores are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2_500, help="to score on")
    parser.add_argument("--all", action="store_true", help="ridge and logistic regression, too")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args(argv)
    if options.out.exists():
        return 0
    config = load_config(options.config, options.overrides)
    with joined("cpu", DefaultSettings(threads=1)) as world:
        supernet = load_supernet(options.model)
        data = open_images(config, supernet.space)
        images = fixed_part("--images", data.valid, min(options.images, len(data.valid)))
        inputs = evaluation_inputs(config, supernet.space, data, images, world)
        chosen = calibration_subset(data.train, COUNTS[-1], seed=0)
        pixels = decoded(chosen, eval_transform(data.recipe, supernet.space.resolution), config.data.cache, workers=0)
        training = replace(inputs, images=pixels, labels=chosen.labels)
        archs = {key: each.arch for key, each in read_arch_file(config.run.ground_truth, supernet.space).items()}
        found = scores(supernet, archs, inputs, training, options.all)
        write_json(options.out, by_score(dict(zip(archs, found, strict=True))))
    return 0


def by_score(found: Mapping[str, Found]) -> dict[str, Found]:
    """Scores by name and arch, of scores by arch and name."""
    names = next(iter(found.values()))
    return {name: {arch_id: round(each[name], 5) for arch_id, each in found.items()} for name in names}


def scores(
    supernet: Supernet, archs: Mapping[str, Arch], inputs: Inputs, training: Inputs, losers: bool
) -> list[Found]:
    """All scores of each arch."""
    plan = Scorer(supernet, inputs, unit_networks=NETWORKS).plan(list(archs.values()))
    found: list[list[Found]] = []
    for unit in plan.units:
        walk = Walk(supernet, unit, inputs)
        walk.calibrate()
        known, asked = features(walk, training), features(walk, inputs)
        heads = {node.leaf.number: node.head for node in walk.nodes if isinstance(node, End)}
        found.append(
            [
                measured(
                    Known(known[leaf], training.labels, supernet.num_classes),
                    Known(asked[leaf], inputs.labels, supernet.num_classes),
                    heads[leaf],
                    losers,
                )
                for leaf in range(len(unit.members))
            ]
        )
        print(f"{len(found)} of {len(plan.units)} units", flush=True)
    return plan.by_arch(found)


@torch.no_grad()
def features(walk: Walk, inputs: Inputs) -> dict[int, Tensor]:
    """Of each network of a unit, [N, width]."""
    parts: dict[int, list[Tensor]] = {}
    for images, _ in inputs.scoring_batches():
        for end, each in walk.features(images):
            parts.setdefault(end.leaf.number, []).append(each)
    return {leaf: torch.cat(each).double() for leaf, each in parts.items()}


def measured(known: Known, asked: Known, head: HeadTensors, losers: bool) -> Found:
    """All scores of one arch, larger is better."""

    def shared(x: Tensor) -> Tensor:
        return F.linear(x, head.weight.detach().double(), head.bias.detach().double())

    logits, prob = shared(asked.x), shared(asked.x).softmax(1).gather(1, asked.y[:, None])
    found = {"top1": top1(logits, asked), "prob": 100 * float(prob.mean()), "log": log_probability(logits, asked)}
    found |= {"log_t": log_probability(cooled(shared, known.first(COUNTS[0]))(asked.x), asked)}
    for name, count, shrinkage in (
        *((f"lda{count}", count, SHRINKAGE) for count in COUNTS),
        ("lda4096_10", 4_096, 0.1),
    ):
        fitted = known.first(count)
        predicted = cooled(lda(fitted, shrinkage), fitted)(asked.x)
        found |= {f"{name}_top1": top1(predicted, asked), name: log_probability(predicted, asked)}
    return found | lost(known, asked) if losers else found


def lost(known: Known, asked: Known) -> Found:
    """The scores by classifiers that turned out worse."""
    found = {}
    for count in COUNTS:
        predicted = ridge(known.first(count))(asked.x)
        found |= {f"ridge{count}_top1": top1(predicted, asked), f"ridge{count}": explained(predicted, asked)}
    predicted = logistic(known)(asked.x)
    return found | {"logistic_top1": top1(predicted, asked), "logistic": log_probability(predicted, asked)}


def top1(logits: Tensor, asked: Known) -> float:
    """In percent."""
    return 100 * float((logits.argmax(1) == asked.y).double().mean())


def log_probability(logits: Tensor, asked: Known) -> float:
    """Of the labels, the mean."""
    return -float(F.cross_entropy(logits, asked.y))


def explained(predicted: Tensor, asked: Known) -> float:
    """The share of the one-hot labels' variance that predictions [N, classes] explain, in percent."""
    labels = asked.one_hot
    return 100 * (1 - float(((labels - predicted) ** 2).sum() / ((labels - labels.mean(0)) ** 2).sum()))


def cooled(classifier: Classifier, known: Known) -> Classifier:
    """A classifier whose logits are divided by the temperature that suits the known images best."""
    from scipy.optimize import minimize_scalar

    logits = classifier(known.x)
    best = minimize_scalar(lambda log: -log_probability(logits * float(torch.tensor(log).exp()), known), bounds=(-6, 3))
    return lambda x: classifier(x) * float(torch.tensor(best.x).exp())


def regular(covariance: Tensor, shrinkage: float = SHRINKAGE) -> Tensor:
    """A covariance [width, width] with some more variance on the diagonal."""
    width = len(covariance)
    return covariance + shrinkage * covariance.trace() / width * torch.eye(width).to(covariance)


def ridge(known: Known) -> Classifier:
    """Least squares to the one-hot labels; the constant is free."""
    x, y = known.x - known.x.mean(0), known.one_hot
    weight = torch.linalg.solve(regular(x.T @ x / len(x)), x.T @ (y - y.mean(0)) / len(x))
    return lambda wanted: y.mean(0) + (wanted - known.x.mean(0)) @ weight


def lda(known: Known, shrinkage: float) -> Classifier:
    """Gaussian classes of one covariance, all equally likely (Fisher, Annals of Eugenics 7, 1936)."""
    y = known.one_hot
    means = y.T @ known.x / y.sum(0)[:, None]
    within = known.x - means[known.y]
    weight = torch.linalg.solve(regular(within.T @ within / len(within), shrinkage), means.T)  # [width, classes]
    constant = -0.5 * (means.T * weight).sum(0)
    return lambda wanted: wanted @ weight + constant


def logistic(known: Known) -> Classifier:
    """Logistic regression, trained to the end."""
    mean, scale = known.x.mean(0), known.x.std(0).clamp_min(1e-8)
    x = ((known.x - mean) / scale).float()
    weight, bias = (torch.zeros(shape, requires_grad=True) for shape in ((x.shape[1], known.classes), (known.classes,)))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight + bias, known.y) + DECAY / 2 * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return lambda wanted: ((wanted - mean) / scale) @ weight.detach().double() + bias.detach().double()


if __name__ == "__main__":
    sys.exit(run(main))
