"""What searching is worth: archs that a search finds, against those that cost less thought, trained alone.

python -m studies.search.run                             prints the tables from the files beside it
python -m studies.search.run BED SEED search             searches with the supernet of a seed, and picks the archs
python -m studies.search.run BED SEED TRAINING_SEED      trains the picked archs with a seed, from scratch
python -m studies.search.run BED SEED finetune           trains the arch searched under half of the macs, both ways
python -m studies.search.run BED SEED cost               times the tree against the plain way
python -m studies.search.run --collect BED               gathers what results/ has of a bed into a file beside it

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_nas import finetune, merge, rank, search, test, train_stand_alone, train_supernet
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.config import Config, load_config
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.found import read_found
from fewshot_nas.results.run import ONE_SHOT as PHASE
from fewshot_nas.results.run import (
    finetune_directory,
    found_directory,
    phase_directory,
    run_directory,
    run_files,
    stand_alone_directory,
)
from fewshot_nas.results.scores import read_scores
from fewshot_nas.running.networks import GroundTruth
from fewshot_nas.space.pool import read_pool

HERE = Path(__file__).resolve().parent
BUDGET, SAMPLE, SEEDS = 500, 1000, (0, 1, 2)
SEARCHED, OTHERS = ("searched", "searched by the ranker"), ("random", "pool", "largest")
TUNED = {"fashion_pairs": (1, 2), "digits": (1, 2, 5, 10)}  # epochs
FRESH = {"fashion_pairs": (1, 2, 4), "digits": (10, 30, 60)}
NO_TRUTH = "run.ground_truth=results/no_truth.json"
BEDS: Mapping[str, Mapping[str, Any]] = {
    "fashion_pairs": {"config": "configs/fashion_pairs.yml", "save": "pairs_oneshot_s", "images": 2000, "classes": 45},
    "digits": {"config": "configs/digits.yml", "save": "search_digits_s", "images": 300, "classes": 10},
}


def main(argv: Sequence[str] | None = None) -> int:
    """One part of the study, or its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", metavar="BED SEED PART", help="see above")
    parser.add_argument("--collect", choices=BEDS, metavar="BED")
    options = parser.parse_args(argv)
    if options.collect:
        collect(options.collect)
    if options.part:
        bed, seed, part = options.part
        {"search": find, "cost": cost, "finetune": finetune_both}.get(
            part, lambda bed, seed: train(bed, seed, int(part))
        )(bed, int(seed))
    else:
        print("\n\n".join(table(bed) for bed in BEDS if (HERE / f"{bed}.json").exists()))
    return 0


def settings(bed: str, seed: int) -> list[str]:
    """What all commands of a bed are given."""
    return [f"--config={BEDS[bed]['config']}", f"--save={BEDS[bed]['save']}{seed}", NO_TRUTH]


def config_of(bed: str) -> Config:
    """The bed's settings."""
    return load_config(Path(BEDS[bed]["config"]))


def bounds_of(bed: str) -> dict[str, dict[str, int]]:
    """The three pairs of bounds by name."""
    costs = pool_costs(bed)
    macs, params = (sorted(cost[name] for cost in costs.values()) for name in ("macs", "params"))
    low, middle, few = macs[len(macs) // 4], macs[len(macs) // 2], params[len(params) // 4]
    return {"low macs": {"macs": low}, "half macs": {"macs": middle}, "few params": {"macs": middle, "params": few}}


def pool_costs(bed: str) -> dict[str, dict[str, int]]:
    """Multiply-adds and parameters of the pool's archs, by code."""
    config = config_of(bed)
    space = config.space.build()
    archs = [arch for part in read_pool(config.run.pool, space) for arch in part.values()]
    classes = BEDS[bed]["classes"]
    return {space.encode(arch): space.cost(arch, num_classes=classes)._asdict() for arch in archs}


def find(bed: str, seed: int) -> None:
    """Rank the pool from a sample, search under each bound, and pick an arch for each arm."""
    given, save = settings(bed, seed), f"{BEDS[bed]['save']}{seed}"
    if bed == "digits":
        train_supernet.main([*given, f"run.seed={seed}", "evaluation.every_epochs=100"])
    directory = phase_directory(save, PHASE)
    if not run_files(save).prediction.exists():
        test.main([*given, f"--sample={SAMPLE}", f"--images={BEDS[bed]['images']}", "--epoch=0"])
        merge.main([*given, "--stage=1", f"--epoch=0_sample{SAMPLE}", "--top=prob"])
        rank.main([*given, "--scores", str(directory.scores(f"0_sample{SAMPLE}"))])
    scores = read_scores(run_files(save).prediction, config_of(bed).space.build())
    predicted = {scored.code: scored.acc for scored in scores.values()}
    costs, picked = pool_costs(bed), {}
    for name, bounds in bounds_of(bed).items():
        inside = [code for code, cost in costs.items() if all(cost[key] <= most for key, most in bounds.items())]
        picked[name] = {
            "searched": searched(given, save, name, bounds, "--by=supernet"),
            "searched by the ranker": searched(given, save, name, bounds, "--by=ranker"),
            "random": searched(given, save, name, bounds, "--by=supernet", "--method=random"),
            "pool": max(inside, key=lambda code: predicted[code]),
            "largest": max(inside, key=lambda code: costs[code]["macs"]),
        }
    write_json(run_directory(save) / "picked.json", picked)


def searched(given: Sequence[str], save: str, name: str, bounds: Mapping[str, int], *kind: str) -> str:
    """The best arch of a search."""
    known = "_".join([name, *kind]).replace(" ", "-").replace("--", "").replace("=", "-")
    limits = [f"--max={key}={most}" for key, most in bounds.items()]
    images = next(bed["images"] for bed in BEDS.values() if save.startswith(bed["save"]))
    search.main([*given, *limits, *kind, f"--budget={BUDGET}", f"--images={images}", f"--name={known}"])
    return read_found(found_directory(save, known).found).archs[0].code


def train(bed: str, seed: int, training_seed: int) -> None:
    """Train what was picked with a supernet; archs that several arms picked, once."""
    picked = read_json(run_directory(f"{BEDS[bed]['save']}{seed}") / "picked.json")
    for code in dict.fromkeys(code for arms in picked.values() for code in arms.values()):
        train_stand_alone.main(
            [
                f"--config={BEDS[bed]['config']}",
                f"--save=search_{bed}",
                f"--target_arch_num={code}",
                f"--ground_truth={truth_path(bed)}",
                f"--seed={training_seed}",
            ]
        )


def finetune_both(bed: str, seed: int) -> None:
    """The searched arch, from inherited weights and from scratch, for several numbers of epochs."""
    save = f"{BEDS[bed]['save']}{seed}"
    code = read_json(run_directory(save) / "picked.json")["half macs"]["searched"]
    found: dict[str, dict[str, Any]] = {"inherited": {}, "scratch": {}}
    given = [f"--save={save}", f"--config={BEDS[bed]['config']}", "--no-resume"]
    for epochs in TUNED[bed]:
        finetune.main([*given, f"--arch={code}", f"finetune.epochs={epochs}"])
        directory = finetune_directory(save, f"{PHASE.name}_{code}", 0)
        found["inherited"][str(epochs)] = read_json(directory.result)
    for epochs in FRESH[bed]:
        train_stand_alone.main([*given, f"--target_arch_num={code}", f"stand_alone.epochs={epochs}"])
        directory = stand_alone_directory(save, f"code{code}", 0)
        found["scratch"][str(epochs)] = read_json(directory.result)
    write_json(run_directory(save) / "finetuned.json", found)


def truth_path(bed: str) -> Path:
    """Where the accuracies of picked archs are, apart from any ground truth."""
    return run_directory(f"search_{bed}") / "picked_truth.json"


def cost(bed: str, seed: int) -> None:
    """Networks a second, of the search's generations and of 20 of their archs the plain way, in turns."""
    from fewshot_nas.data.sources import fixed_part
    from fewshot_nas.distributed import World
    from fewshot_nas.evaluation.naive import score_plainly
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.running.images import open_images
    from fewshot_nas.scoring.scorer import scorer_for
    from fewshot_nas.searching.explore import Generation

    save, config = f"{BEDS[bed]['save']}{seed}", config_of(bed)
    supernet = load_supernet(phase_directory(save, PHASE).chosen)
    data = open_images(config, supernet.space)
    scored = fixed_part("images", data.valid, BEDS[bed]["images"])
    scorer = scorer_for(config, save, supernet, data, scored, World.alone())
    found: dict[str, Any] = {}
    for kind in ("supernet", "supernet_method-random"):
        generations = _generations(save, f"half-macs_by-{kind}", supernet.space)
        archs = [list(each.scores) for each in generations]
        macs, plain = (sum(getattr(each, name) for each in generations) for name in ("macs", "plain_macs"))
        ratios = []
        for generation in (archs[0], archs[-2], archs[0], archs[-2]):  # the last one is cut to the budget
            tree = _seconds(lambda some=generation: scorer.scores(some)) / len(generation)
            few = generation[:20]
            one = _seconds(lambda some=few: score_plainly(supernet, some, scorer.inputs)) / len(few)
            ratios.append({"tree_per_s": 1 / tree, "plain_per_s": 1 / one, "ratio": one / tree})
        found[kind] = {"macs_share": macs / plain, "first_share": _share(generations[:1]), "timed": ratios}
        found[kind]["last_share"] = _share(generations[-3:])
    assert isinstance(generations[0], Generation)
    write_json(run_directory(save) / "search_cost.json", found)
    print(found)


def _share(generations: Sequence[Any]) -> float:
    return sum(each.macs for each in generations) / sum(each.plain_macs for each in generations)


def _generations(save: str, name: str, space: Any) -> list[Any]:
    from fewshot_nas.evaluation.inputs import Accuracy
    from fewshot_nas.records.journal import records
    from fewshot_nas.searching.explore import Generation

    lines = [record for record in records(found_directory(save, name).journal) if "scores" in record]
    return [
        Generation(**{**line, "scores": {space.decode(c): Accuracy(*v) for c, v in line["scores"].items()}})
        for line in lines
    ]


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def collect(bed: str) -> None:
    """Picked archs with their test accuracies by training seed, and what searching cost."""
    known: dict[str, dict[str, float]] = {}
    for result in GroundTruth(truth_path(bed)).results():
        known.setdefault(result.code, {})[str(result.seed)] = result.test
    content: dict[str, Any] = {"bounds": bounds_of(bed), "supernets": {}, "cost": {}, "finetuned": {}}
    for seed in SEEDS:
        top = run_directory(f"{BEDS[bed]['save']}{seed}")
        if (top / "picked.json").exists():
            picked = read_json(top / "picked.json")
            content["supernets"][str(seed)] = {
                name: {arm: {"code": code, "test": known.get(code, {})} for arm, code in arms.items()}
                for name, arms in picked.items()
            }
        if (top / "search_cost.json").exists():
            content["cost"][str(seed)] = read_json(top / "search_cost.json")
        if (top / "finetuned.json").exists():
            content["finetuned"][str(seed)] = read_json(top / "finetuned.json")
    write_json(HERE / f"{bed}.json", content)


def cells(content: Mapping[str, Any]) -> list[Mapping[str, list[float]]]:
    """For each bound and supernet with all arms trained: accuracies of each arm by training seed."""
    found = []
    for bounds in content["supernets"].values():
        for arms in bounds.values():
            seeds = set.intersection(*(set(each["test"]) for each in arms.values()))
            if seeds:
                found.append({arm: [each["test"][seed] for seed in sorted(seeds)] for arm, each in arms.items()})
    return found


def difference(found: Sequence[Mapping[str, list[float]]], one: str, two: str) -> tuple[float, float, float]:
    """Mean over cells of one arm less another, and its 95 % interval over cells and training seeds."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(10_000):
        drawn = [found[place] for place in rng.integers(len(found), size=len(found))]
        means.append(np.mean([_drawn(rng, cell[one]) - _drawn(rng, cell[two]) for cell in drawn]))
    value = statistics.fmean(statistics.fmean(cell[one]) - statistics.fmean(cell[two]) for cell in found)
    low, high = np.quantile(means, [0.025, 0.975])
    return value, float(low), float(high)


def _drawn(rng: Any, values: Sequence[float]) -> float:
    return float(np.mean(rng.choice(values, size=len(values))))


def table(bed: str) -> str:
    """Accuracies by bound and arm, and the differences."""
    content = read_json(HERE / f"{bed}.json")
    found = cells(content)
    if not found:
        raise InputError(f"{bed}: nothing has been trained")
    lines = [f"{bed}: {len(found)} cells, {sum(len(cell['searched']) for cell in found)} trainings of each arm", ""]
    lines += ["| bounds | " + " | ".join((*SEARCHED, *OTHERS)) + " |", "|---|" + "---|" * 5]
    for name in content["bounds"]:
        here = [arms[name] for arms in content["supernets"].values()]
        values = {arm: [acc for each in here for acc in each[arm]["test"].values()] for arm in (*SEARCHED, *OTHERS)}
        lines.append(
            f"| {name} | " + " | ".join(f"{statistics.fmean(v):.2f}" if v else "" for v in values.values()) + " |"
        )
    lines += ["", "| difference | " + " | ".join(OTHERS) + " |", "|---|---|---|---|"]
    for arm in SEARCHED:
        shown = (difference(found, arm, other) for other in OTHERS)
        lines.append(f"| {arm} | " + " | ".join(f"{v:+.2f} [{low:+.2f}, {high:+.2f}]" for v, low, high in shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
