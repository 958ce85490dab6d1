"""Does a Cream search find better paths than drawing them, and what of it matters? Searches as arms, and their tables.

    python scripts/study_cream.py                     prints the tables of docs/cream.md from json_file/cream_small/
    python scripts/study_cream.py --run ARM SEED      searches below results/study_cream/, unless that is done
    python scripts/study_cream.py --retrain ARM SEED  trains the path that was found alone, with seeds 0, 1 and 2
    python scripts/study_cream.py --collect           renews json_file/cream_small/ from results/

Decided before anything ran:

- Learning, on the digits. Why does the published supernet learn so slowly in few steps? Arms, 9 epochs each, seeds 0,
  1 and 2: `published` (choices begin at random), `slow` and `fast` (its rate divided and multiplied by 4), `even`
  (choices drawn uniformly, so that the rarest is trained three times as often), `residual` (two blocks in a stage, the
  second of which has a residual connection), `shared` (choices share weights in the first 3 epochs). What counts is the
  top-1 of the last board's best path with the supernet's weights, as the mean of the seeds.
- Ablations, on configs/cream_small.yml, seeds 0, 1 and 2, equal numbers of steps. `default`; `alone` (no teacher);
  `every` (a teacher in every step, not in every second one); `batch` (the published board); `prior` (choices drawn by
  the published prior); `top1` (the most accurate path teaches); `random` (choices begin at random). What counts: the
  seeds' mean tau of the supernet's scores over the paths with a truth, and its difference to `default`, on the same
  resamples of paths; and the top-1 of the path found, with the supernet's weights.
- The verdict. The paths that `default` finds with search seeds 0, 1 and 2, each trained alone with training seeds 0, 1
  and 2, against the first 20 paths of the pool with the same three training seeds, which are random within the same
  bounds: the mean of the found less the median of the random ones, with an interval from resamples of searches, of
  random paths, and of the trainings of each. It is an answer if it excludes 0. The cheapest and the dearest of the 60
  paths with a truth stand beside it, trained with three seeds too.
- A second pick from the same searches, `combined`: the supernet of each `default` search scores the pool's first 140
  paths, the scores are smoothed and combined with multiply-adds as `rank` does, and the best of all 1,000 paths of the
  pool by that is trained alone as above. It needs no truth. It is judged in the same way.
- The score of a found path less its truth, beside the same difference of random paths (after a linear fit to them):
  whether the search collected the scores' noise.

Changed before the searches of this study ran:

- The recipe of the truth. With batches of 128 the seeds of a path agreed badly (tau of two seeds 0.15 over 15 paths).
  A pilot of eight paths and two seeds each, `pilot` in study.json, compared batches of 64, and those with 40,000
  images. The recipe with the largest share of variance between paths was taken, and all 60 truths were computed anew.
- configs/cream_small.yml, by nothing but the board's own accuracy on held training images; `tuning` in study.json has
  all trials. No truth and no ranking image was looked at.
- Three seeds instead of one in the learning arms, three searches instead of one and training seeds for the random paths
  in the verdict; the arms `every` and `combined`. Scores are on 2,000 ranking images.
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
from fewshot_nas.cream.found import read_model, write_model
from fewshot_nas.cream.paths import CreamPath, Model
from fewshot_nas.cream.pool import PathEntry, read_paths, write_paths
from fewshot_nas.cream.ranking import path_features
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.correlation import Interval, agreement, interval_of, tau_gain
from fewshot_nas.ranking.features import column
from fewshot_nas.ranking.ranker import ranker
from fewshot_nas.ranking.reliability import reliability
from fewshot_nas.results.run import retrain_directory, search_directory
from fewshot_nas.settings import load
from fewshot_nas.space.cost import Cost

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "json_file" / "cream_small"
SMALL = ROOT / "configs" / "cream_small.yml"
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
    "alone": ("META_STA_EPOCH=1000",),
    "every": ("TEACH_EVERY=1",),
    "batch": ("BOARD=batch",),
    "prior": ("SAMPLING=prior",),
    "top1": ("PICK_METHOD=top1",),
    "random": ("SHARED_EPOCHS=0",),
}
COMBINED, FOUND = "combined", "found"  # an arm, and a path among scored ones
RANDOM_PATHS, TRUTHS, SCORED = 20, 60, 140
SEEDS = range(3)

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
        if not STUDY.exists():
            raise InputError(f"{STUDY}: no such file; `python scripts/study_cream.py --collect` writes it")
        print("\n".join(lines(read_json(STUDY))))
    return 0


def search_arm(arm: str, seed: int) -> None:
    """Search, and score the pool's first paths and the found one where the arm is an ablation."""
    save = _save(arm, seed)
    if arm in LEARNING:
        search.main(["--save", save, f"run.seed={seed}", *DIGITS, *LEARNING[arm]])
    elif arm == COMBINED:
        pick_combined(seed)
    else:
        search.main(["--save", save, "--config", str(SMALL), f"run.seed={seed}", *ABLATIONS[arm]])
        score.main(["--save", save, "--pool", str(_pool_of(arm, seed)), "data.valid_images=2000"])


def _pool_of(arm: str, seed: int) -> Path:
    """A file of the paths that the arm's supernet scores."""
    directory = search_directory(_save(arm, seed))
    first = list(read_paths(POOL).items())[: SCORED if arm == "default" else TRUTHS]
    write_paths(directory.path / "pool.json", {**dict(first), FOUND: PathEntry(0.0, read_model(directory.chosen).path)})
    return directory.path / "pool.json"


def pick_combined(seed: int) -> None:
    """Pick the pool's best path by the combined scores of the default arm's supernet."""
    space, pool = load(SearchConfig, SMALL).SPACE, read_paths(POOL)
    scores = _accuracies(search_directory(_save("default", seed)).path_scores)
    described = path_features(space, [(entry.path, _cost(entry.path)) for entry in pool.values()])
    combined = ranker(described, [column(pool, scores)]).combined.value
    path = list(pool.values())[int(combined.argmax())].path
    mflops = load(SearchConfig, SMALL).budget().mflops(path)
    write_model(search_directory(_save(COMBINED, seed)).chosen, Model(path, 16, space), {"mflops": mflops})


def retrain_arm(arm: str, seed: int) -> None:
    """Train the found path alone, as the paths of the truth were."""
    found = search_directory(_save(arm, seed)).chosen
    config = ["--config", str(ROOT / "configs" / "cream_small_retrain.yml"), "--from_search", str(found)]
    for each in SEEDS:
        retrain.main(["--save", f"{_save(arm, seed)}/alone{each}", *config, f"run.seed={each}"])


def _save(arm: str, seed: int) -> str:
    return f"study_cream/{arm}_s{seed}"


def collect() -> None:
    """Copy what has been run to json_file/cream_small/; what has not been is left out, and trials before it stay."""
    arms = [(arm, seed) for arm in (*ABLATIONS, COMBINED) for seed in SEEDS if _done(arm, seed)]
    content = {
        "learning": {arm: [_top1(arm, seed) for seed in SEEDS if _done(arm, seed)] for arm in LEARNING},
        "scores": {f"{arm}_s{seed}": _accuracies(search_directory(_save(arm, seed)).path_scores) for arm, seed in arms},
        "found": {f"{arm}_s{seed}": _found(arm, seed) for arm, seed in arms},
        "truth": runs_of(RUNS),
    }
    before = read_json(STUDY) if STUDY.exists() else {}
    write_json(STUDY, {**before, **content})


def _done(arm: str, seed: int) -> bool:
    return search_directory(_save(arm, seed)).chosen.exists()


def _top1(arm: str, seed: int) -> float:
    return float(read_json(search_directory(_save(arm, seed)).chosen)["top1"])


def _accuracies(file: Path) -> dict[str, float]:
    return {name: entry.acc for name, entry in read_paths(file).items()} if file.exists() else {}


def _found(arm: str, seed: int) -> dict[str, Any]:
    """The path, its accuracy in the supernet, and those of its trainings alone."""
    content = read_json(search_directory(_save(arm, seed)).chosen)
    logs = [retrain_directory(f"{_save(arm, seed)}/alone{each}", "arch").log for each in SEEDS]
    alone = [_records(log)[-1]["top1"]["ema"] for log in logs if log.exists()]
    return {key: content[key] for key in ("INPUT_ARCH", "mflops", "top1") if key in content} | {"alone": alone}


def _records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def runs_of(directory: Path) -> dict[str, list[float]]:
    """Accuracies on the ranking images of each path, one for each seed, in the order of the pool."""
    runs: dict[str, list[float]] = {}
    files = [read_json(path) for path in directory.glob("*_seed*.json")]
    for each in sorted(files, key=lambda each: (int(each["arch_id"].removeprefix("arch")), each["seed"])):
        runs.setdefault(each["arch_id"], []).append(each["valid"])
    return runs


def lines(study: Study) -> Iterator[str]:
    """Markdown; a table without data is left out."""
    parts = (
        _learning(study["learning"]),
        _tuning(study.get("tuning", [])),
        _reliabilities({**study.get("pilot", {}), "truth": study["truth"]}),
        _rankings(study),
        _verdict(study),
        _noise(study),
    )
    tables = ["\n".join(part) for part in parts]
    yield "\n\n".join(table for table in tables if table)


def _learning(found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    if any(found.values()):
        yield "| arm | top-1 of the best path with the supernet's weights, seeds 0, 1, 2 | mean |\n|---|---|---|"
        for arm, top1 in found.items():
            if top1:
                yield f"| {arm} | {', '.join(f'{each:.1f}' for each in top1)} % | {fmean(top1):.1f} % |"


def _tuning(trials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if trials:
        yield "| settings | processor time, s | best path, mean probability on held images |\n|---|---|---|"
        yield from (f"| {each['settings']} | {each['s']:.0f} | {each['held_prob']:.1f} % |" for each in trials)


def _reliabilities(truths: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """How well the seeds of recipes agree, on the paths that have as many seeds as any."""
    yield "| recipe | paths | seeds | mean | sd between paths | sd of a seed | share of the path | tau of two seeds |"
    yield f"|{'---|' * 8}"
    for name, truth in truths.items():
        most = max(map(len, truth.values()), default=0)
        several = {path: runs for path, runs in truth.items() if len(runs) == most}
        if most > 1 and len(several) > 2:
            found = reliability(several)
            within = fmean(stdev(runs) ** 2 for runs in several.values())
            between = max(0.0, stdev(map(fmean, several.values())) ** 2 - within / most)
            share = between / (between + within)
            cells = f"{fmean(map(fmean, several.values())):.1f} | {between**0.5:.1f} | {within**0.5:.1f}"
            yield f"| {name} | {len(several)} | {most} | {cells} | {share:.2f} | {found.seed_tau:.2f} |"


def _rankings(study: Study) -> Iterator[str]:
    """FLOPs, parameters and supernets against the truth."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    if len(truth) < 3:
        return
    costs = _costs(truth)
    arms = {arm: _of_seeds(study["scores"], arm) for arm in ABLATIONS}
    yield "| what ranks | seeds | tau | less that of FLOPs | less that of `default` | top-1 of the found path |"
    yield f"|{'---|' * 6}"
    for name, values in costs.items():
        yield f"| {name} | | {_shown(agreement(values, truth).kendall)} | | | |"
    for arm, scores in arms.items():
        if scores:
            gains = [_shown(tau_gain(scores, [costs["FLOPs"]], truth))]
            gains += [_shown(tau_gain(scores, arms["default"], truth)) if arm != "default" and arms["default"] else ""]
            top1 = fmean(each["top1"] for each in _of_seeds(study["found"], arm))
            yield f"| {arm} | {len(scores)} | {_shown(_mean_tau(scores, truth))} | {' | '.join(gains)} | {top1:.1f} % |"


def _mean_tau(scores: Sequence[Mapping[str, float]], truth: Mapping[str, float]) -> Interval:
    """Of all seeds, on the same resamples of paths: half of what scores gain over themselves turned round."""
    turned = [{name: -score for name, score in each.items()} for each in scores]
    gain = tau_gain(scores, turned, truth)
    return Interval(*(each / 2 for each in (gain.value, gain.low, gain.high, gain.error)))


def _of_seeds(values: Mapping[str, Any], arm: str) -> list[Any]:
    return [values[name] for seed in SEEDS if values.get(name := f"{arm}_s{seed}")]


def _cost(path: CreamPath) -> Cost:
    return path_cost(path, 16, num_classes=45, in_channels=1, space=load(SearchConfig, SMALL).SPACE)


def _costs(names: Iterable[str]) -> dict[str, dict[str, float]]:
    budget, pool = load(SearchConfig, SMALL).budget(), read_paths(POOL)
    paths = {name: pool[name].path for name in names}
    return {
        "FLOPs": {name: budget.mflops(path) for name, path in paths.items()},
        "params": {name: float(_cost(path).params) for name, path in paths.items()},
    }


def _verdict(study: Study) -> Iterator[str]:
    """The paths that were found, between random ones."""
    truth = study["truth"]
    others = [runs for runs in list(truth.values())[:RANDOM_PATHS] if len(runs) == len(SEEDS)]
    if len(others) < RANDOM_PATHS:
        return
    costs = _costs(truth)["FLOPs"]
    ends = {"cheapest of 60": min(costs, key=costs.__getitem__), "dearest of 60": max(costs, key=costs.__getitem__)}
    yield "| path | M FLOPs | trainings | top-1 alone | better than, of 20 random ones | less their median |"
    yield f"|{'---|' * 6}"
    for arm in ("default", COMBINED):
        found = [each for each in _of_seeds(study["found"], arm) if len(each["alone"]) == len(SEEDS)]
        for number, each in enumerate(found):
            yield _place(f"{arm}, search {number}", each["mflops"], each["alone"], others)
        if found:
            gain = gain_over_median([each["alone"] for each in found], others)
            runs = [run for each in found for run in each["alone"]]
            yield _place(f"**{arm}, all**", fmean(each["mflops"] for each in found), runs, others, _shown(gain))
    for name, path in ends.items():
        yield _place(name, costs[path], truth[path], others)
    middle = median(map(fmean, others))
    yield f"| median of 20 random ones | | {len(SEEDS)} each | {middle:.2f} % | | |"


def _place(name: str, mflops: float, runs: Sequence[float], others: Sequence[Sequence[float]], gain: str = "") -> str:
    beaten = sum(fmean(runs) > fmean(other) for other in others)
    return f"| {name} | {mflops:.3f} | {len(runs)} | {fmean(runs):.2f} % | {beaten} | {gain} |"


def gain_over_median(found: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> Interval:
    """The mean of found paths less the median of others, by the means of their trainings.

    Args:
        found, others: the accuracies of each path's trainings. Paths are resampled, and the trainings of each path.
    """
    rng = np.random.default_rng(0)

    def resampled(paths: Sequence[Sequence[float]]) -> list[float]:
        return [float(rng.choice(paths[i], len(paths[i])).mean()) for i in rng.integers(len(paths), size=len(paths))]

    draws = [fmean(resampled(found)) - median(resampled(others)) for _ in range(2000)]
    return interval_of(fmean(map(fmean, found)) - median(map(fmean, others)), np.array(draws))


def _noise(study: Study) -> Iterator[str]:
    """Whether a found path is worth what its score promises: its truth less what random paths of its score have."""
    truth = {name: fmean(runs) for name, runs in study["truth"].items()}
    surplus = []
    for scores, found in zip(_of_seeds(study["scores"], "default"), _of_seeds(study["found"], "default"), strict=False):
        if found["alone"] and len(truth) >= TRUTHS:
            slope, shift = np.polyfit([scores[name] for name in truth], list(truth.values()), 1)
            surplus.append((scores[FOUND], fmean(found["alone"]), slope * scores[FOUND] + shift, max(scores.values())))
    if surplus:
        yield "| search | score of the found path | best of 140 random scores | its truth | what its score promised |"
        yield "|---|---|---|---|---|"
        for number, (scored, alone, promised, best) in enumerate(surplus):
            yield f"| {number} | {scored:.1f} % | {best:.1f} % | {alone:.2f} % | {promised:.2f} % |"


def _shown(found: Interval) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


if __name__ == "__main__":
    sys.exit(run(main))
