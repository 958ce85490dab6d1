"""Train and measure all arms of the study; plan.md says which and why.

    python -m studies.transfer.run --root DIR

What is there already stays; a training that was stopped goes on. The accuracies are written to results.json.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from fewshot_nas import finetune, make_pool, train_stand_alone
from fewshot_nas.cli.main import run
from fewshot_nas.config import load_config
from fewshot_nas.data.images import ArrayImages, balanced_indices
from fewshot_nas.data.sources import ImageData, open_data
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.checkpoint import read_checkpoint, subnet_of
from fewshot_nas.models.start import read_start
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import part
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import NetworkDirectory
from fewshot_nas.results.run import finetune_directory, stand_alone_directory
from fewshot_nas.running.images import evaluation_inputs, open_images, trained_on
from fewshot_nas.space.resnet import ResNetSpace

RESULTS = Path(__file__).resolve().parent / "results.json"
SEEDS = (0, 1, 2)
EACH = 100  # images of each class to move to
SPACE = ("space.preset=cifar", "space.stem_stride=2", "space.depths=[[2,2],[2,2],[2,2]]")
NOTHING = (30, 60)  # epochs
STARTS = (*product((0.005, 0.02, 0.1), (10, 30)), (0.1, 60))  # rate and epochs; the last was added afterwards
NARROWER = {"7/8": 2, "6/8": 3}  # the digit of all widths


def first(root: Path) -> ImageData:
    """The five classes of the source."""
    return _five(root, 0)


def second(root: Path, seed: int) -> ImageData:
    """The other five classes, with few training images."""
    data = _five(root, 5)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    shuffled = data.train.select(order)
    return replace(data, train=shuffled.select(balanced_indices(shuffled.labels, 5 * EACH)))


def second0(root: Path) -> ImageData:
    """For seed 0."""
    return second(root, 0)


def second1(root: Path) -> ImageData:
    """For seed 1."""
    return second(root, 1)


def second2(root: Path) -> ImageData:
    """For seed 2."""
    return second(root, 2)


def _five(root: Path, begin: int) -> ImageData:
    data = open_data("cifar10", root)

    def some(images: ArrayImages) -> ArrayImages:
        chosen = ((images.labels >= begin) & (images.labels < begin + 5)).nonzero().squeeze(1)
        return ArrayImages(images.array[chosen], images.labels[chosen] - begin)

    parts = {name: some(getattr(data, name)) for name in ("train", "valid", "test")}
    return replace(data, name=f"five from {begin}", num_classes=5, classes=data.classes[begin : begin + 5], **parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory of CIFAR-10")
    root, pool = parser.parse_args(argv).root, Path("results/transfer_pool")
    if not pool.exists():
        make_pool.main(["--size=4", "--parts=1", f"--out={pool}", *SPACE])
    common = [f"data.root={root}", "data.cache=results/transfer_cache", "data.valid_images=100", f"run.pool={pool}"]
    found = dict(read_json(RESULTS)) if RESULTS.exists() else {}
    for seed in SEEDS:
        found[str(seed)] = of_seed(seed, common)
        write_json(RESULTS, found)
    return 0


def of_seed(seed: int, common: Sequence[str]) -> dict[str, float]:
    """Test accuracies in percent, by arm."""
    space = load_config(None, SPACE).space.build()
    code = space.encode(space.largest)

    def alone(save: str, data: str, *more: str) -> NetworkDirectory:
        given = [
            f"--save={save}",
            f"--target_arch_num={code}",
            f"--seed={seed}",
            f"data.name=studies.transfer.run:{data}",
        ]
        train_stand_alone.main([*given, *SPACE, *common, *more])
        return stand_alone_directory(save, f"code{code}", seed)

    source = alone("transfer_source", "first", "stand_alone.epochs=2")
    found = {"source": read_json(source.result)["test"], **narrower(source.chosen, common)}
    other = f"second{seed}"
    for epochs in NOTHING:
        nothing = alone(f"transfer_nothing{epochs}_{seed}", other, f"stand_alone.epochs={epochs}")
        found[f"nothing {epochs}"] = read_json(nothing.result)["test"]
    for rate, epochs in STARTS:
        save = f"transfer_start{rate}_{epochs}_{seed}"
        given = [
            f"--save={save}",
            f"--from={source.chosen}",
            f"--seed={seed}",
            f"data.name=studies.transfer.run:{other}",
        ]
        finetune.main([*given, *common, f"finetune.lr={rate}", f"finetune.epochs={epochs}"])
        directory = finetune_directory(save, f"from_{source.chosen.stem}_{code}", seed)
        found[f"start {rate} {epochs}"] = read_json(directory.result)["test"]
    return found


def narrower(path: Path, common: Sequence[str]) -> dict[str, float]:
    """Accuracies of networks with the source's leading channels, in its order and sorted; nothing is trained."""
    source, space, _ = subnet_of(path, read_checkpoint(path))
    config = load_config(None, [*SPACE, *common, "data.name=studies.transfer.run:first"])
    assert isinstance(space, ResNetSpace)
    data = open_images(config, space)
    inputs = evaluation_inputs(config, space, data, data.test, World.alone())
    start, found = read_start(path, space, trained_on(data)), {}
    for width, digit in NARROWER.items():
        cut = space.arch((digit,) * 3, ((digit,) * 2,) * 3)
        plain = Subnet(space, cut, 5)
        with torch.no_grad():
            for ours, theirs in zip(plain.parameters(), source.parameters(), strict=True):
                ours.copy_(part(theirs, *ours.shape))
        for name, network in (("as it is", plain), ("sorted", start.subnet(cut))):
            calibrate(network, inputs.calibration_batches())
            found[f"{width} {name}"] = measure(network.eval(), inputs).top1
    return found


if __name__ == "__main__":
    sys.exit(run(main))
