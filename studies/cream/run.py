"""Does a Cream search find better paths than drawing them, and what of it matters? Searches as arms, and their tables.

    python -m studies.cream.run                     prints the tables of docs/cream_study.md from results.json
    python -m studies.cream.run --run ARM SEED      searches below results/study_cream/, unless that is done
    python -m studies.cream.run --retrain ARM SEED  trains the path that was found alone, with seeds 0, 1 and 2
    python -m studies.cream.run --collect           renews results.json and the truths from results/

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_nas import test
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.cli.settings import load
from fewshot_nas.cream import retrain, search
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.model import Model, read_model
from fewshot_nas.cream.searching import SearchRun, final_scores
from fewshot_nas.distributed import World
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.ranking.features import column, features, weights
from fewshot_nas.ranking.predictor import predict
from fewshot_nas.ranking.ranker import Ranker, log_odds, ranker
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import shard_path
from fewshot_nas.results.run import retrain_directory, search_directory
from fewshot_nas.space.pool import Entry, read_arch_file, read_codes, write_arch_file
from studies.common import STUDIES
from studies.cream.table import (
    ADAPTED,
    CLASSES,
    COMBINED,
    FOUND,
    PICKS,
    POOL,
    PREDICTED,
    RANDOM_PATHS,
    ROOT,
    SEEDS,
    SHAPES,
    SMALL,
    TRUTHS,
    lines,
    small_space,
)

STUDY = STUDIES / "cream" / "results.json"
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
            raise InputError(f"{STUDY}: no such file; `python -m studies.cream.run --collect` writes it")
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
        settings = ["FINAL_STEPS=0", *ABLATIONS[arm]]  # the board's order decides
        search.main(["--save", save, "--config", str(SMALL), f"run.seed={seed}", *settings])
        pool = f"run.pool={_pool_of(arm, seed)}"
        test.main(["--save", save, "--json_part", "all", pool, "data.valid_images=2000"])


def _pool_of(arm: str, seed: int) -> Path:
    """A file of the paths that the arm's supernet scores."""
    directory = search_directory(_save(arm, seed))
    space, found = small_space(), Entry(0.0, read_model(directory.chosen).arch)
    first = list(read_arch_file(POOL, space).items())[: SCORED if arm == "default" else TRUTHS]
    write_arch_file(directory.path / "pool.json", space, {**dict(first), FOUND: found})
    return directory.path / "pool.json"


def pick_combined(seed: int) -> None:
    """Pick the pool's best path by the combined scores of the default arm's supernet."""
    _write_pick(COMBINED, seed, int(_ranker(seed).combined.value.argmax()))


def pick_predicted(arm: str, seed: int) -> None:
    """Pick the best of the pool's paths without a truth, by a predictor that knows the truths of some others."""
    known = _ranker(seed)
    inputs = known.inputs if arm == PREDICTED else known.shapes
    truth = np.array([runs[0] for runs in runs_of(RUNS).values()])[RANDOM_PATHS:TRUTHS]
    told, wanted = inputs.of(np.arange(RANDOM_PATHS, TRUTHS)), inputs.of(np.arange(TRUTHS, len(known.described)))
    _write_pick(arm, seed, TRUTHS + int(predict(told, log_odds(truth), wanted).value.argmax()))


def _ranker(seed: int) -> Ranker:
    """Of all paths of the pool, from the scores of the default arm's supernet."""
    space, scores = small_space(), _scores("default", seed)
    pool = read_arch_file(POOL, space)
    described = features(space, [entry.arch for entry in pool.values()], num_classes=CLASSES)
    return ranker(described, weights(space), [column(pool, scores)])


def _write_pick(arm: str, seed: int, place: int) -> None:
    space = small_space()
    arch = list(read_arch_file(POOL, space).values())[place].arch
    facts = {"mflops": load(SearchConfig, SMALL).budget().mflops(arch)}
    write_json(search_directory(_save(arm, seed)).chosen, {**Model(space, arch).values(), **facts})


def pick_adapted(seed: int) -> None:
    """Pick the best of board and pool after some steps alone from the default arm's supernet; keep all scores."""
    directory, home = search_directory(_save("default", seed)), search_directory(_save(ADAPTED, seed))
    config = load(SearchConfig, directory.config, ["FINAL_STEPS=32"])
    training = SearchRun(save=ADAPTED, config=config, world=World.alone(), resume=True, report=print)
    space = small_space()
    board = [space.decode(entry["INPUT_ARCH"]) for entry in read_json(directory.board)["board"]]
    paths = {name: entry.arch for name, entry in list(read_arch_file(POOL, space).items())[:TRUTHS]}
    paths |= {f"board{place}": path for place, path in enumerate(board)}
    supernet = load_supernet(directory.supernet)
    accuracies = final_scores(training, supernet, list(paths.values()))
    found = {name: Entry(each.prob, paths[name]) for name, each in zip(paths, accuracies, strict=True)}
    write_arch_file(shard_path(home.scores("0"), "prob", 1), space, found)
    best = max(found, key=lambda name: found[name].acc)
    mflops = config.budget().mflops(paths[best])
    write_json(home.chosen, {**Model(space, paths[best]).values(), "mflops": mflops})


def retrain_arm(arm: str, seed: int) -> None:
    """Train the found path alone, as the paths of the truth were."""
    found = search_directory(_save(arm, seed)).chosen
    config = ["--config", str(ROOT / "configs" / "cream_small_retrain.yml"), "--from_search", str(found)]
    for each in SEEDS:
        retrain.main(["--save", f"{_save(arm, seed)}/alone{each}", *config, f"run.seed={each}"])


def _save(arm: str, seed: int) -> str:
    return f"study_cream/{arm}_s{seed}"


def collect() -> None:
    """Copy what has been run to results.json; what has not been is left out, and trials before it stay."""
    arms = [(arm, seed) for arm in (*ABLATIONS, *PICKS) for seed in SEEDS if _done(arm, seed)]
    content = {
        "learning": {arm: [_top1(arm, seed) for seed in SEEDS if _done(arm, seed)] for arm in LEARNING},
        "scores": {f"{arm}_s{seed}": _scores(arm, seed) for arm, seed in arms},
        "found": {f"{arm}_s{seed}": _found(arm, seed) for arm, seed in arms},
        "truth": runs_of(RUNS),
    }
    before = read_json(STUDY) if STUDY.exists() else {}
    write_json(STUDY, {**before, **content})


def _done(arm: str, seed: int) -> bool:
    return search_directory(_save(arm, seed)).chosen.exists()


def _top1(arm: str, seed: int) -> float:
    return float(read_json(search_directory(_save(arm, seed)).chosen)["top1"])


def _scores(arm: str, seed: int) -> dict[str, float]:
    """Of the paths that the arm's supernet has scored last, if it has."""
    scored = [*search_directory(_save(arm, seed)).evaluations().values()][-1:]
    return {name: acc for each in scored for name, (acc, _) in read_codes(shard_path(each, "prob", 1), str).items()}


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
