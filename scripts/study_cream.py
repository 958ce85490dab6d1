"""Does a Cream search find better paths than drawing them, and what of it matters? Searches as arms, and their tables.

    python scripts/study_cream.py                     prints the tables of docs/cream.md from json_file/cream_small/
    python scripts/study_cream.py --run ARM SEED      searches below results/study_cream/, unless that is done
    python scripts/study_cream.py --retrain ARM SEED  trains the path that was found alone, with seeds 0, 1 and 2
    python scripts/study_cream.py --collect           renews json_file/cream_small/ from results/

Decided before anything ran:

- Learning, on the digits. Why does the published supernet learn so slowly in few steps? Arms, 9 epochs each, seed 0:
  `published` (choices begin at random), `slow` and `fast` (its rate divided and multiplied by 4), `even` (choices
  drawn uniformly, so that the rarest is trained three times as often), `residual` (two blocks in a stage, the second
  of which has a residual connection), `shared` (choices share weights in the first 3 epochs). What counts is the top-1
  of the last board's best path with the supernet's weights. One seed tells differences of ten points, no smaller ones.
- Ablations, on configs/cream_small.yml, seeds 0, 1 and 2, equal numbers of steps. `default`; `prior` (choices drawn by
  the published prior); `top1` (the most accurate path teaches); `alone` (no teacher); `batch` (the published board);
  `random` (choices begin at random). What counts: the seeds' mean tau of the supernet's scores over the paths with a
  truth, and its difference to `default`, on the same resamples of paths; and the accuracy of the path found.
- The verdict. The path that `default` finds with seed 0, trained alone with seeds 0, 1 and 2, against the first 20
  paths of the pool with seed 0, which are random within the same bounds: its mean less their median, with an interval
  from resamples of both. The cheapest and the dearest of all paths with a truth stand beside it.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

from fewshot_nas.cli import run
from fewshot_nas.cream import retrain, score, search
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import path_cost
from fewshot_nas.cream.pool import read_paths
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.correlation import Interval, agreement, interval_of, tau_gain
from fewshot_nas.ranking.reliability import reliability
from fewshot_nas.results.run import retrain_directory, search_directory
from fewshot_nas.settings import load

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "json_file" / "cream_small"
POOL, STUDY = HOME / "pool.json", HOME / "study.json"
RUNS = ROOT / "results" / "cream_truth" / "gt_paths60.runs"
DIGITS = ("EPOCHS=9", "META_STA_EPOCH=5", "REVIEWS=3", "REVIEW_PATHS=8", "VALIDATE_EVERY=9")
LEARNING = {
    "published": ("SHARED_EPOCHS=0",),
    "slow": ("SHARED_EPOCHS=0", "LR=0.0125"),
    "fast": ("SHARED_EPOCHS=0", "LR=0.2"),
    "even": ("SHARED_EPOCHS=0", "SAMPLING=uniform"),
    "residual": ("SHARED_EPOCHS=0", "DEPTHS=[2,2,2,2,2]", "FLOPS_MAXIMUM=1000"),
    "shared": ("SHARED_EPOCHS=3",),
}
ABLATIONS = {
    "default": (),
    "prior": ("SAMPLING=prior",),
    "top1": ("PICK_METHOD=top1",),
    "alone": ("META_STA_EPOCH=1000",),
    "batch": ("BOARD=batch",),
    "random": ("SHARED_EPOCHS=0",),
}
RANDOM_PATHS = 20

Study = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, collect or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs=2, metavar=("ARM", "SEED"))
    parser.add_argument("--retrain", nargs=2, metavar=("ARM", "SEED"))
    parser.add_argument("--collect", action="store_true")
    options = parser.parse_args(argv)
    if options.run:
        search_arm(options.run[0], int(options.run[1]))
    elif options.retrain:
        retrain_arm(options.retrain[0], int(options.retrain[1]))
    else:
        if options.collect:
            collect()
        print("\n".join(lines(read_json(STUDY))))
    return 0


def search_arm(arm: str, seed: int) -> None:
    """Search, and score the pool's first paths where the arm is an ablation."""
    save = _save(arm, seed)
    if arm in LEARNING:
        search.main(["--save", save, f"run.seed={seed}", *DIGITS, *LEARNING[arm]])
    else:
        config = ["--config", str(ROOT / "configs" / "cream_small.yml")]
        search.main(["--save", save, *config, f"run.seed={seed}", *ABLATIONS[arm]])
        score.main(["--save", save, "--pool", str(POOL), "--target_arch_num=1-60"])


def retrain_arm(arm: str, seed: int) -> None:
    """Train the found path alone, as the paths of the truth were."""
    found = search_directory(_save(arm, seed)).chosen
    config = ["--config", str(ROOT / "configs" / "cream_small_retrain.yml"), "--from_search", str(found)]
    for each in range(3):
        retrain.main(["--save", f"{_save(arm, seed)}/alone{each}", *config, f"run.seed={each}"])


def _save(arm: str, seed: int) -> str:
    return f"study_cream/{arm}_s{seed}"


def collect() -> None:
    """Copy what has been run to json_file/cream_small/; what has not been is left out."""
    learning = {
        arm: read_json(search_directory(_save(arm, 0)).chosen)["top1"] for arm in LEARNING if _done(_save(arm, 0))
    }
    searches = [(arm, seed) for arm in ABLATIONS for seed in range(3) if _done(_save(arm, seed))]
    scores = {f"{arm}_s{seed}": _accuracies(search_directory(_save(arm, seed)).path_scores) for arm, seed in searches}
    found = {f"{arm}_s{seed}": _found(arm, seed) for arm, seed in searches}
    boards = {f"{arm}_s{seed}": _boards(arm, seed) for arm, seed in searches}
    write_json(STUDY, {"learning": learning, "scores": scores, "found": found, "boards": boards, "truth": _truth()})


def _done(save: str) -> bool:
    return search_directory(save).chosen.exists()


def _accuracies(file: Path) -> dict[str, float]:
    return {name: entry.acc for name, entry in read_paths(file).items()} if file.exists() else {}


def _found(arm: str, seed: int) -> dict[str, Any]:
    """The path, its accuracy in the supernet, and those of its trainings alone."""
    content = read_json(search_directory(_save(arm, seed)).chosen)
    logs = [retrain_directory(f"{_save(arm, seed)}/alone{each}", "arch").log for each in range(3)]
    alone = [_records(log)[-1]["top1"]["ema"] for log in logs if log.exists()]
    return {key: content[key] for key in ("INPUT_ARCH", "mflops", "top1")} | {"alone": alone}


def _boards(arm: str, seed: int) -> list[dict[str, Any]]:
    """The board after each epoch."""
    records = _records(search_directory(_save(arm, seed)).log)
    return [{"epoch": record["epoch"], **record["board"]} for record in records]


def _records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _truth() -> dict[str, list[float]]:
    """Accuracies on the ranking images of each path, one for each seed, in the order of the pool."""
    runs: dict[str, list[float]] = {}
    files = [read_json(path) for path in RUNS.glob("*_seed*.json")]
    for each in sorted(files, key=lambda each: (int(each["arch_id"].removeprefix("arch")), each["seed"])):
        runs.setdefault(each["arch_id"], []).append(each["valid"])
    return runs


def lines(study: Study) -> Iterator[str]:
    """Markdown; a table without data is left out."""
    parts = (_learning(study["learning"]), _reliability(study["truth"]), _rankings(study), _verdict(study))
    tables = ["\n".join(part) for part in parts]
    yield "\n\n".join(table for table in tables if table)


def _learning(found: Mapping[str, float]) -> Iterator[str]:
    if found:
        yield "| arm | top-1 of the best path, with the supernet's weights |\n|---|---|"
        yield from (f"| {arm} | {top1:.1f} % |" for arm, top1 in found.items())


def _reliability(truth: Mapping[str, Sequence[float]]) -> Iterator[str]:
    several = {name: runs[:3] for name, runs in truth.items() if len(runs) >= 3}
    if len(several) < 3:
        return
    first = [runs[0] for runs in truth.values()]
    found = reliability(several)
    yield "| paths | with three seeds | mean | sd between paths | tau of two seeds | share of the path | ceiling |"
    yield f"|{'---|' * 7}"
    numbers = (found.seed_tau, found.share, found.ceiling)
    cells = " | ".join(f"{number:.2f}" for number in numbers)
    yield f"| {len(first)} | {len(several)} | {fmean(first):.1f} | {stdev(first):.1f} | {cells} |"


def _rankings(study: Study) -> Iterator[str]:
    """FLOPs, parameters and supernets against the truth."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    if len(truth) < 3:
        return
    costs = _costs(truth)
    arms = {
        arm: [scores for seed in range(3) if (scores := study["scores"].get(f"{arm}_s{seed}"))] for arm in ABLATIONS
    }
    yield "| what ranks | seeds | tau | less that of FLOPs | less that of `default` |\n|---|---|---|---|---|"
    for name, values in costs.items():
        yield f"| {name} | | {_shown(agreement(values, truth).kendall)} | | |"
    for arm, scores in arms.items():
        if scores:
            tau = fmean(agreement(each, truth, resamples=0).kendall.value for each in scores)
            gains = [_shown(tau_gain(scores, [costs["FLOPs"]], truth))]
            gains += [_shown(tau_gain(scores, arms["default"], truth)) if arm != "default" and arms["default"] else ""]
            yield f"| {arm} | {len(scores)} | {tau:+.2f} | {gains[0]} | {gains[1]} |"


def _costs(names: Iterable[str]) -> dict[str, dict[str, float]]:
    config = load(SearchConfig, ROOT / "configs" / "cream_small.yml")
    budget, pool = config.budget(), read_paths(POOL)
    params = {n: path_cost(pool[n].path, 16, num_classes=45, in_channels=1, space=config.SPACE).params for n in names}
    return {"FLOPs": {name: budget.mflops(pool[name].path) for name in params}, "params": dict(params)}


def _verdict(study: Study) -> Iterator[str]:
    """The path that was found, between random ones."""
    ours, truth = study["found"].get("default_s0", {}).get("alone", []), study["truth"]
    others = [truth[name][0] for name in list(truth)[:RANDOM_PATHS]]
    if len(ours) < 2 or len(others) < RANDOM_PATHS:
        return
    rng = np.random.default_rng(0)
    draws = [np.mean(rng.choice(ours, len(ours))) - np.median(rng.choice(others, len(others))) for _ in range(1000)]
    gain = interval_of(fmean(ours) - median(others), np.array(draws))
    costs = _costs(truth)["FLOPs"]
    yield "| path | top-1 alone | better than, of 20 random ones |\n|---|---|---|"
    rows = {"found, three seeds": fmean(ours), "median of 20 random ones": median(others)}
    rows |= {
        "cheapest": truth[min(costs, key=costs.__getitem__)][0],
        "dearest": truth[max(costs, key=costs.__getitem__)][0],
    }
    yield from (f"| {name} | {top1:.2f} % | {sum(top1 > other for other in others)} |" for name, top1 in rows.items())
    yield f"\nFound less median: {_shown(gain)} points."


def _shown(found: Interval) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


if __name__ == "__main__":
    sys.exit(run(main))
