"""Score paths of a pool with the supernet of a search, and compare the scores with a ground truth."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli import Parser, add_config_options, run, speaker
from fewshot_nas.commands import command_line
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import path_cost
from fewshot_nas.cream.found import FORM
from fewshot_nas.cream.pool import NUMBERS, PathEntry, read_paths, select, write_paths
from fewshot_nas.errors import InputError
from fewshot_nas.results.directories import SearchDirectory
from fewshot_nas.results.run import search_directory
from fewshot_nas.settings import load

if TYPE_CHECKING:
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.evaluation.accuracy import Accuracy


def main(argv: Sequence[str] | None = None) -> int:
    """Write the paths' mean probabilities into results/<save>/search/scores.json."""
    options = _parser().parse_intermixed_args(argv)
    directory = search_directory(options.save)
    if not directory.chosen.exists():
        hint = command_line("cream.search", save=options.save)
        raise InputError(f"{directory.chosen}: no such file, so there is no finished search; `{hint}` makes one")
    config = load(SearchConfig, options.config or directory.config, options.overrides)
    whole, some = read_paths(options.pool), options.target_arch_num
    truth = read_paths(options.ground_truth) if options.ground_truth else {}
    _refuse_others(options.ground_truth, truth, whole)
    pool = select(options.pool, "--target_arch_num", some) if some else whole
    truth = {arch_id: entry for arch_id, entry in truth.items() if arch_id in pool}
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.ranking.correlation import FEWEST

    with joined(options.device, config.run) as world:
        resolution = config.IMAGE_SIZE or config.budget().resolution
        training = CreamRun(config, resolution, world, True, speaker(world.is_main), config.held_images)
        found = _scores(training, config, directory, pool)
        if world.is_main:
            write_paths(directory.path_scores, {name: PathEntry(found[name].prob, pool[name].path) for name in pool})
            print(f"{len(pool)} paths on {len(training.data.valid):,} images: {directory.path_scores}")
            if len(truth) >= FEWEST:
                print(f"against {options.ground_truth}, with 95 % intervals:")
                print(_table(training, config, found, truth))
    return 0


def _refuse_others(file: Path | None, truth: Mapping[str, PathEntry], pool: Mapping[str, PathEntry]) -> None:
    for arch_id, entry in truth.items():
        if arch_id not in pool or pool[arch_id].path != entry.path:
            raise InputError(f"{file}: {arch_id} is another path than in the pool; does it belong to another pool?")


def _scores(
    training: "CreamRun", config: SearchConfig, directory: SearchDirectory, pool: Mapping[str, PathEntry]
) -> dict[str, "Accuracy"]:
    """Scores by arch id; each process scores its share of the sorted paths, so that neighbours stay together."""
    from fewshot_nas.cream.scorer import PathScorer
    from fewshot_nas.cream.supernet import CreamSupernet
    from fewshot_nas.distributed import gathered
    from fewshot_nas.models.checkpoint import read_checkpoint
    from fewshot_nas.runs import placed

    data, world, budget = training.data, training.world, config.budget()
    supernet = CreamSupernet(budget.depths, data.num_classes, len(data.mean), config.SPACE)
    try:
        supernet.load_state_dict(read_checkpoint(directory.last, world.device)["model"])
    except (KeyError, RuntimeError):
        raise InputError(f"{directory.last}: holds no supernet of these settings") from None
    names = sorted(pool, key=lambda name: pool[name].path)
    mine = names[len(names) * world.rank // world.size : len(names) * (world.rank + 1) // world.size]
    scorer = PathScorer(placed(supernet, world), training.inputs(data.valid, config.CALIBRATION_IMAGES))
    scored = dict(zip(mine, scorer.scores([pool[name].path for name in mine]), strict=True))
    return {name: score for part in gathered(scored, world) for name, score in part.items()}


def _table(
    training: "CreamRun", config: SearchConfig, found: Mapping[str, "Accuracy"], truth: Mapping[str, PathEntry]
) -> str:
    # Here, so that --help need not wait for numpy.
    from fewshot_nas.ranking.correlation import agreement, agreement_table

    data, budget = training.data, config.budget()
    size, classes, channels = training.resolution, data.num_classes, len(data.mean)
    costs = {
        name: path_cost(entry.path, size, num_classes=classes, in_channels=channels, space=config.SPACE)
        for name, entry in truth.items()
    }
    rows = {
        "probability": {name: found[name].prob for name in truth},
        "top-1": {name: found[name].top1 for name in truth},
        "FLOPs": {name: budget.mflops(entry.path) for name, entry in truth.items()},
        "macs": {name: float(cost.macs) for name, cost in costs.items()},
        "params": {name: float(cost.params) for name, cost in costs.items()},
    }
    accuracy = {name: entry.acc for name, entry in truth.items()}
    return agreement_table({name: agreement(values, accuracy) for name, values in rows.items()})


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.score", description=__doc__)
    add = parser.add_argument
    add("--save", default="save", metavar="NAME", help="directory under results/ that the search wrote (default save)")
    add("--pool", type=Path, required=True, metavar="FILE", help="paths that `cream.make_pool` has drawn")
    add("--target_arch_num", metavar="PATHS", help=f"some of them: {NUMBERS} (default: all)")
    add("--ground_truth", type=Path, metavar="FILE", help="accuracies of some of them that `cream.truth` has found")
    add("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")
    add_config_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
