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
  paths with a truth stand beside it, trained with three seeds too. If time does not allow all trainings of the random
  paths, they have seed 0 at least, whose noise is then a part of their spread, and the table says how many there are.
- A second pick from the same searches, `combined`: the supernet of each `default` search scores the pool's first 140
  paths, the scores are smoothed and combined with multiply-adds as `rank` does, and the best of all 1,000 paths of the
  pool by that is trained alone as above. It needs no truth. It is judged in the same way.
- A third pick, `adapted`, decided after the first default search (tau 0.32, its path no better than random ones) and
  before any of its own results: weights that all paths share suit none of them fully, and 32 steps alone raised tau on
  the archs of docs/study.md. The ten paths of the last board and the pool's first 60 train alone for 32 steps
  (`fewshot_nas/cream/finals.py`, rate 0.05 falling to 0) from the weights of each `default` supernet, and are scored on
  the held images. The best of the 70 is trained alone as above, and judged in the same way; its tau is over the 60.
- A fourth pick, `predicted`, decided after the default searches (their supernets agree with each other, tau 0.5 to 0.7,
  but less with the truth) and before any of its own results: a bias that all supernets share cannot be averaged away,
  but a few truths can tell of it. The predictor of `rank` is fitted to the truths of the pool's paths 21 to 60, from
  the combined scores of each `default` supernet and the paths' features; the best of the paths without a truth, 61 to
  1,000, is trained alone as above. `shapes` is the same without any score. Both cost 40 trainings alone, and their
  opponents, the paths 1 to 20, are not among these.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study_cream_table import (
    ADAPTED,
    COMBINED,
    FOUND,
    HOME,
    PICKS,
    POOL,
    PREDICTED,
    RANDOM_PATHS,
    ROOT,
    SEEDS,
    SHAPES,
    SMALL,
    TRUTHS,
    cost_of,
    lines,
)

from fewshot_nas.cli import run
from fewshot_nas.cream import retrain, score, search
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.found import read_model, write_model
from fewshot_nas.cream.paths import Model, parse_path
from fewshot_nas.cream.pool import PathEntry, read_paths, write_paths
from fewshot_nas.cream.ranking import path_features
from fewshot_nas.cream.runs import CreamRun
from fewshot_nas.cream.score import supernet_of
from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.combination import surplus
from fewshot_nas.ranking.features import column, standardised
from fewshot_nas.ranking.predictor import EVIDENCE_WEIGHT, PredictorInputs, predict
from fewshot_nas.ranking.ranker import Ranker, ranker
from fewshot_nas.ranking.scale import log_odds
from fewshot_nas.results.run import retrain_directory, search_directory
from fewshot_nas.settings import load

STUDY = HOME / "study.json"
RUNS = ROOT / "results" / "cream_truth" / "gt_paths60.runs"
SCORED = 140  # paths of the pool by a default search, from which those of all are extrapolated
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
    elif arm == ADAPTED:
        pick_adapted(seed)
    elif arm in (PREDICTED, SHAPES):
        pick_predicted(arm, seed)
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
    _write_pick(COMBINED, seed, int(_ranker(seed).combined.value.argmax()))


def pick_predicted(arm: str, seed: int) -> None:
    """Pick the best of the pool's paths without a truth, by a predictor that knows the truths of some others."""
    known = _ranker(seed)
    evidence = np.stack([known.combined.value, surplus(known.raw, known.smoothed)], axis=1)
    weighted = EVIDENCE_WEIGHT / 2**0.5 * standardised(evidence)
    features = standardised(known.described)
    inputs = PredictorInputs(np.hstack([weighted, features]), evidence[:, 0])
    inputs = inputs if arm == PREDICTED else PredictorInputs(features)
    truth = np.array([runs[0] for runs in runs_of(RUNS).values()])[RANDOM_PATHS:TRUTHS]
    told, wanted = inputs.of(np.arange(RANDOM_PATHS, TRUTHS)), inputs.of(np.arange(TRUTHS, len(features)))
    _write_pick(arm, seed, TRUTHS + int(predict(told, log_odds(truth), wanted).value.argmax()))


def _ranker(seed: int) -> Ranker:
    """Of all paths of the pool, from the scores of the default arm's supernet."""
    space, pool = load(SearchConfig, SMALL).SPACE, read_paths(POOL)
    scores = _accuracies(search_directory(_save("default", seed)).path_scores)
    described = path_features(space, [(entry.path, cost_of(entry.path)) for entry in pool.values()])
    return ranker(described, [column(pool, scores)])


def _write_pick(arm: str, seed: int, place: int) -> None:
    config, path = load(SearchConfig, SMALL), list(read_paths(POOL).values())[place].path
    facts = {"mflops": config.budget().mflops(path)}
    write_model(search_directory(_save(arm, seed)).chosen, Model(path, config.IMAGE_SIZE, config.SPACE), facts)


def pick_adapted(seed: int) -> None:
    """Pick the best of board and pool after some steps alone from the default arm's supernet; keep all scores."""
    directory, home = search_directory(_save("default", seed)), search_directory(_save(ADAPTED, seed))
    config = load(SearchConfig, directory.config, ["FINAL_STEPS=32"])
    training = CreamRun(config, config.IMAGE_SIZE, World.alone(), True, print, config.held_images)
    board = [parse_path(entry["INPUT_ARCH"]) for entry in read_json(directory.board)["board"]]
    paths = {name: entry.path for name, entry in list(read_paths(POOL).items())[:TRUTHS]}
    paths |= {f"board{place}": path for place, path in enumerate(board)}
    supernet = supernet_of(training, config, directory)
    accuracies = search.finals_of(training, config).scores(supernet, list(paths.values()))
    found = {name: PathEntry(each.prob, paths[name]) for name, each in zip(paths, accuracies, strict=True)}
    write_paths(home.path_scores, found)
    best = max(found, key=lambda name: found[name].acc)
    mflops = config.budget().mflops(paths[best])
    write_model(home.chosen, Model(paths[best], config.IMAGE_SIZE, config.SPACE), {"mflops": mflops})


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
    arms = [(arm, seed) for arm in (*ABLATIONS, *PICKS) for seed in SEEDS if _done(arm, seed)]
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


if __name__ == "__main__":
    sys.exit(run(main))
