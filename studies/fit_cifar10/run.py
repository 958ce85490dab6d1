"""Run `fit` with three seeds, and compare its networks on the same test images; plan.md says which and why.

    OMP_NUM_THREADS=1 python -m studies.fit_cifar10.run --root DIR [--seeds 0 1 2]

`DIR` has CIFAR-10 as class folders. A run that was stopped goes on. What the seeds that have ended found is written to
results.json, so seeds may run beside each other.
"""

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot_nas import fit
from fewshot_nas.cli.main import run
from fewshot_nas.records.files import write_json
from fewshot_nas.results.run import run_files

RESULTS = Path(__file__).resolve().parent / "results.json"
SEEDS = (0, 1, 2)
GIVEN = ("--max=macs=12M", "--budget=135m", "data.train_images=5000")
Rights = npt.NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory of CIFAR-10 as class folders")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="none of them only compares (default: all)")
    options = parser.parse_args(argv)
    for seed in options.seeds:
        fit.main([f"--data={options.root}", f"--save={_save(seed)}", f"--seed={seed}", *GIVEN])
    ended = {each: run_files(_save(each)).guesses for each in SEEDS}
    write_json(RESULTS, compared({each: read_rights(path) for each, path in ended.items() if path.exists()}))
    return 0


def _save(seed: int) -> str:
    return f"fit_cifar10_{seed}"


def read_rights(path: Path) -> dict[str, Rights]:
    """1 where a network's guess is the label [images], by network."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("image", "label")]
    return {name: np.array([float(row[name] == row["label"]) for row in rows]) for name in names}


def compared(rights: Mapping[int, Mapping[str, Rights]]) -> dict[str, object]:
    """Test top-1 by network and seed, and the found network's gains with 95 % intervals, all in percent.

    A gain is over the seeds whose run had time for the other network.

    >>> ones, half = np.ones(4), np.array([1.0, 1.0, 0.0, 0.0])
    >>> compared({0: {"found": ones, "random": half}})["gains"]
    {'random': {'mean': 50.0, 'low': -6.58, 'high': 106.58, 'seeds': [50.0]}}
    """
    gains = {}
    for name in dict.fromkeys(name for each in rights.values() for name in each):
        if name != "found":
            by_seed = np.array([each["found"] - each[name] for each in rights.values() if name in each])
            mean, error = by_seed.mean(), by_seed.mean(0).std(ddof=1) / math.sqrt(by_seed.shape[1])
            low, high = mean - 1.96 * error, mean + 1.96 * error
            numbers = {"mean": mean, "low": low, "high": high}
            gains[name] = {key: round(100 * float(value), 2) for key, value in numbers.items()} | {
                "seeds": [round(100 * float(value), 2) for value in by_seed.mean(1)]
            }
    top1 = {
        str(seed): {name: round(100 * float(each[name].mean()), 2) for name in each} for seed, each in rights.items()
    }
    return {"top1": top1, "gains": gains}


if __name__ == "__main__":
    sys.exit(run(main))
