"""Two sides, and fair draws, instead of the defaults on the older beds, by each kind of score; plan.md says why.

python -m studies.cifar10_truths.older_beds                the tables, from older_beds.json
python -m studies.cifar10_truths.older_beds --train BED    first trains and scores what is missing, into results/
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fewshot_nas import score, train_supernet
from fewshot_nas.ranking.baselines import everything, interval, resamples, taus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import column
from fewshot_nas.records.files import read_json, write_json
from studies.cifar10_truths.run import HERE, RESULTS
from studies.cifar10_truths.table import KINDS, signed
from studies.common import FILES, ROOT

SCORES = HERE / "older_beds.json"
FAIR = ["training.sampling=fair", "training.extremes=none", "training.random_subnets=4"]
SEEDS = range(3)


class OlderBed(NamedTuple):
    """Where its archs with a truth are, what its supernets change of its configuration, and what is compared."""

    truth: Path
    settings: Sequence[str]
    arms: Mapping[str, Sequence[str]]


BEDS = {
    "digits": OlderBed(
        FILES / "digits" / "gt_arch30.json",
        [],
        {"default": [], "two_sided": ["training.two_sided=true"], "fair": FAIR},
    ),
    "fashion_mnist": OlderBed(
        FILES / "fashion_mnist" / "gt_arch30.json",
        ["data.train_images=10000", "training.epochs=4"],
        {"default": [], "fair": FAIR},
    ),
    "fashion_pairs": OlderBed(
        FILES / "fashion_pairs" / "gt_arch200.json",
        [],
        {"default": [], "fair": FAIR},
    ),
}


def config_of(bed: str) -> Path:
    """Its configuration."""
    return ROOT / "configs" / f"{bed}.yml"


def codes_of(bed: str) -> dict[str, str]:
    """Its archs with a truth, by arch id."""
    return {arch_id: entry["arch"] for arch_id, entry in read_json(BEDS[bed].truth).items()}


def trained(bed: str, arm: str, seed: int) -> Path:
    """The supernet of an arm, trained if it is not there yet."""
    save = f"truths_{bed}_{arm}_{seed}"
    words = [f"run.seed={seed}", *BEDS[bed].settings, *BEDS[bed].arms[arm]]
    # No truth while it trains: the last epoch is taken.
    alone = ["evaluation.every_epochs=100", f"run.ground_truth={RESULTS}/none.json"]
    if status := train_supernet.main([f"--config={config_of(bed)}", f"--save={save}", *words, *alone]):
        raise SystemExit(f"{save} ended with {status}")
    return RESULTS / save / "supernet.pth"


def train(bed: str) -> None:
    """Train the supernets that are missing, and write the scores of all archs with a truth."""
    codes = codes_of(bed)
    for arm, seed in product(BEDS[bed].arms, SEEDS):
        if f"{arm}_{seed}" in read_json(SCORES).get(bed, {}):
            continue
        scores = score(trained(bed, arm, seed), list(codes.values()))
        each = dict(zip(codes, scores, strict=True))
        found: dict[str, Any] = read_json(SCORES)
        found.setdefault(bed, {})[f"{arm}_{seed}"] = {
            kind: {arch_id: round(getattr(one, kind), 4) for arch_id, one in each.items()} for kind in KINDS
        }
        write_json(SCORES, found)


def lines() -> Iterator[str]:
    """Tau of each seed by each kind of score, and the mean gain over the default, in Markdown."""
    found = read_json(SCORES)
    yield f"| bed | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean | gain |"
    yield f"|---|{'---|' * (len(SEEDS) + 2)}"
    for bed, (path, _, arms) in BEDS.items():
        truth = {arch_id: entry["acc"] for arch_id, entry in read_json(path).items()}
        for kind, title in KINDS.items():
            drawn = {arm: np.array(_drawn(truth, found[bed], arm, kind)) for arm in arms}
            for arm, rows in drawn.items():
                each, mean = rows[:, 0], rows.mean(0)
                gain = signed(asdict(interval(mean - drawn["default"].mean(0)))) if arm != "default" else ""
                yield f"| {bed}, {arm}, {title} | {' | '.join(f'{tau:.2f}' for tau in each)} | {mean[0]:.2f} | {gain} |"


def _drawn(
    truth: Mapping[str, float], found: Mapping[str, Mapping[str, Mapping[str, float]]], arm: str, kind: str
) -> list[Floats]:
    """The taus of each seed: of all archs, then of each resample."""
    archs, accuracy = everything(len(truth)), column(truth, truth)
    scores = (column(truth, found[f"{arm}_{seed}"][kind]) for seed in SEEDS)
    return [taus(each, accuracy, archs, resamples(len(truth))) for each in scores]


def main(argv: Sequence[str] | None = None) -> int:
    """Train if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", metavar="BED", choices=BEDS, help="train and score its supernets first")
    if bed := parser.parse_args(argv).train:
        train(bed)
    print("\n".join(lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
