"""Two sides, and fair draws, instead of the defaults on the digits, by each kind of score; plan.md says why.

python -m studies.cifar10_truths.digits            the table, from digits.json
python -m studies.cifar10_truths.digits --train    first trains and scores what is missing, into results/
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fewshot_nas import score, train_supernet
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.features import column
from fewshot_nas.records.files import read_json, write_json
from studies.cifar10_truths.run import HERE, RESULTS
from studies.cifar10_truths.table import KINDS
from studies.common import FILES, ROOT

SCORES = HERE / "digits.json"
TRUTH, CONFIG = FILES / "digits" / "gt_arch30.json", ROOT / "configs" / "digits.yml"
ARMS = MappingProxyType(
    {
        "default": [],
        "two_sided": ["training.two_sided=true"],
        "fair": ["training.sampling=fair", "training.extremes=none", "training.random_subnets=4"],
    }
)
SEEDS = range(3)


def trained(arm: str, seed: int) -> Path:
    """The supernet of an arm, trained if it is not there yet."""
    save = f"truths_digits_{arm}_{seed}"
    words = [f"run.seed={seed}", *ARMS[arm], "evaluation.every_epochs=100"]
    if status := train_supernet.main([f"--config={CONFIG}", f"--save={save}", *words]):
        raise SystemExit(f"{save} ended with {status}")
    return RESULTS / save / "supernet.pth"


def train() -> None:
    """Train the supernets that are missing, and write the scores of all archs with a truth."""
    codes = {arch_id: entry["arch"] for arch_id, entry in read_json(TRUTH).items()}
    found: dict[str, Any] = read_json(SCORES) if SCORES.exists() else {}
    for arm, seed in product(ARMS, SEEDS):
        if f"{arm}_{seed}" in found:
            continue
        scores = score(trained(arm, seed), list(codes.values()))
        each = dict(zip(codes, scores, strict=True))
        found[f"{arm}_{seed}"] = {
            kind: {arch_id: round(getattr(one, kind), 4) for arch_id, one in each.items()} for kind in KINDS
        }
        write_json(SCORES, found)


def lines() -> Iterator[str]:
    """Tau of each seed by each kind of score, and the mean gain of two sides, in Markdown."""
    found, truth = read_json(SCORES), {arch_id: entry["acc"] for arch_id, entry in read_json(TRUTH).items()}
    yield f"| digits, 30 archs | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean |"
    yield f"|---|{'---|' * (len(SEEDS) + 1)}"
    for kind, title in KINDS.items():
        for arm in ARMS:
            scores = (column(truth, found[f"{arm}_{seed}"][kind]) for seed in SEEDS)
            each = [correlations(values, column(truth, truth))[0] for values in scores]
            yield f"| {arm}, {title} | {' | '.join(f'{tau:.2f}' for tau in each)} | {np.mean(each):.2f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Train if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train and score first")
    if parser.parse_args(argv).train:
        train()
    print("\n".join(lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
