"""Score paths of a pool with the supernet of a search, and compare the scores with a ground truth."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.cli.pace import Pace
from fewshot_nas.cli.settings import compared, load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import path_cost
from fewshot_nas.cream.found import FORM
from fewshot_nas.cream.paths import arch_of
from fewshot_nas.cream.pool import NUMBERS, PathEntry, read_paths, select, write_paths
from fewshot_nas.options import add_config_options, following
from fewshot_nas.records.comparing import SETTINGS, flat, refuse_difference
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import SearchDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.run import search_directory
from fewshot_nas.results.scores import read_manifest

if TYPE_CHECKING:
    from fewshot_nas.cream.ranking import ScoredPath
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.evaluation.accuracy import Accuracy
    from fewshot_nas.evaluation.inputs import Inputs
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.space.space import Arch


def main(argv: Sequence[str] | None = None) -> int:
    """Write the paths' mean probabilities, and how well they order a ground truth, into results/<save>/search/."""
    options = _parser().parse_intermixed_args(argv)
    directory = search_directory(options.save)
    if not directory.chosen.exists():
        hint = following(options, "cream.search")
        raise InputError(f"{directory.chosen}: no such file, so there is no finished search; `{hint}` makes one")
    config = load(SearchConfig, options.config or directory.config, options.overrides, (Config,))
    whole, some = read_paths(options.pool), options.target_arch_num
    truth = read_paths(options.ground_truth) if options.ground_truth else {}
    _refuse_others(options.ground_truth, truth, whole)
    pool = select(options.pool, "--target_arch_num", some) if some else whole
    pool = {**pool, **{arch_id: whole[arch_id] for arch_id in truth}}  # or the truth would compare nothing
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.evaluation.accuracy import guessing

    with joined(options.device, config.run) as world:
        resolution = config.IMAGE_SIZE or config.budget().resolution
        words = f"search {directory.path}"
        training = CreamRun(config, resolution, world, True, speaker(world.is_rank0), config.held_images, words)
        _refuse_other_settings(training, directory)
        found = _scores(training, config, directory, pool)
        if world.is_rank0:
            write_paths(directory.path_scores, {name: PathEntry(found[name].prob, pool[name].path) for name in pool})
            if said := no_better((each.top1 for each in found.values()), guessing(training.data.valid.labels)):
                print(said, file=sys.stderr)
            print(f"{len(pool)} paths on {len(training.data.valid):,} images: {directory.path_scores}")
            if truth:
                _compare(config, directory, found, {name: entry.acc for name, entry in truth.items()})
    return 0


# What a score goes by anew; all else is as the search left it.
_OF_SCORES = ("IMAGE_SIZE", "BATCH_SIZE", "CALIBRATION_IMAGES", "run.", "data.valid_images")


def _refuse_other_settings(training: "CreamRun", directory: SearchDirectory) -> None:
    """Refuse settings and images that are not those of the search, whose supernet cannot be changed."""
    from fewshot_nas.running.images import data_facts

    begun = read_manifest(directory.manifest)
    now = {"settings": compared(training.config), "data": data_facts(training.data)}
    free = ("data.valid.", *(f"{SETTINGS}{each}" for each in _OF_SCORES))
    fixed = dict(flat({key: begun.get(key, {}) for key in now}))
    keys = [key for key in fixed if not key.startswith(free) and key in dict(flat(now))]
    remedy = "the supernet is of that search, so leave these settings out, or search anew"
    refuse_difference(f"{directory.path} was begun with", fixed, now, remedy, keys)


def _refuse_others(file: Path | None, truth: Mapping[str, PathEntry], pool: Mapping[str, PathEntry]) -> None:
    for arch_id, entry in truth.items():
        if arch_id not in pool or pool[arch_id].path != entry.path:
            raise InputError(f"{file}: {arch_id} is another path than in the pool; does it belong to another pool?")


def _scores(
    training: "CreamRun", config: SearchConfig, directory: SearchDirectory, pool: Mapping[str, PathEntry]
) -> dict[str, "ScoredPath"]:
    """By arch id, with scores on the ranking images and as the board would measure the paths."""
    from fewshot_nas.cream.board_keeping import board_scores
    from fewshot_nas.cream.ranking import ScoredPath
    from fewshot_nas.data.images import calibration_subset

    data, space, budget = training.data, config.SPACE, config.budget()
    supernet, paths = supernet_of(training, config, directory), [entry.path for entry in pool.values()]
    shown = training.held if config.BOARD == "review" else calibration_subset(data.train, config.BATCH_SIZE, seed=0)
    on_board, ranking = (training.inputs(images, config.CALIBRATION_IMAGES) for images in (shown, data.valid))
    board = board_scores(config.BOARD, supernet, paths, on_board, training.world)
    scores = _ranked(training, supernet, [arch_of(path) for path in paths], ranking)
    sizes = {"num_classes": data.num_classes, "in_channels": len(data.mean)}
    found = {}
    for (arch_id, entry), accuracy, measured in zip(pool.items(), scores, board, strict=True):
        cost = path_cost(entry.path, training.resolution, **sizes, space=space)
        mflops = budget.mflops(entry.path)
        found[arch_id] = ScoredPath(entry.path, mflops, cost, accuracy.prob, accuracy.top1, measured)
    return found


def _ranked(
    training: "CreamRun", supernet: "Supernet", archs: "Sequence[Arch]", inputs: "Inputs"
) -> "Sequence[Accuracy]":
    """The accuracies of archs, in their order, by all processes; says how long it takes."""
    from fewshot_nas.distributed import gathered
    from fewshot_nas.evaluation.executors import executor_for
    from fewshot_nas.evaluation.memory_limit import memory_limit_mb
    from fewshot_nas.evaluation.scorer import UNIT_NETWORKS, Scorer

    world = training.world
    most, spare_mb = min(UNIT_NETWORKS, -(-len(archs) // world.size)), memory_limit_mb(world.device)
    scorer = Scorer(supernet, inputs, executor_for(world), memory_mb=min(gathered(spare_mb, world)), unit_networks=most)
    plan, found = scorer.plan(archs), {}
    pace = Pace(plan.macs, training.report)
    for number, sums in scorer.results(plan, range(len(plan.units))):
        found[number] = sums
        pace.advance(plan.units[number].macs)
    by_arch = plan.by_arch(found[number] for number in range(len(plan.units)))
    return [each.accuracy(len(inputs.images)) for each in by_arch]


def supernet_of(training: "CreamRun", config: SearchConfig, directory: SearchDirectory) -> "Supernet":
    """The supernet of a finished search.

    Raises:
        InputError: the checkpoint holds another one.
    """
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.running.run import placed

    data, supernet = training.data, load_supernet(directory.last, training.world.device)
    space = config.SPACE.network(config.budget().depths, len(data.mean), supernet.space.resolution)
    if (supernet.space, supernet.num_classes) != (space, data.num_classes):
        raise InputError(f"{directory.last}: holds no supernet of these settings")
    return placed(supernet, training.world)


def _compare(
    config: SearchConfig, directory: SearchDirectory, found: Mapping[str, "ScoredPath"], truth: Mapping[str, float]
) -> None:
    """Write and print how well scores and costs order the truth."""
    # Here, so that --help need not wait for numpy.
    from fewshot_nas.cream.board_keeping import MEASURES
    from fewshot_nas.cream.ranking import ranking_of
    from fewshot_nas.ranking.rows import gained, ranking_table, read_row

    ranking = ranking_of(config.SPACE, found, truth, MEASURES[config.BOARD])
    write_json(directory.ranking, ranking)
    rows = [read_row("the table", row) for row in ranking["rows"]]
    if not rows:
        print(f"{len(truth)} of these paths have a truth, which is too few to judge a ranking by")
        return
    print(f"with 95 % intervals; gain is over {ranking['best_proxy']}, the best proxy:")
    for line in (ranking_table(rows), *gained(rows, ranking["best_proxy"])):
        print(line)


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.score", description=__doc__)
    add = parser.add_argument
    add("--save", default="save", metavar="NAME", help="directory under results/ that the search wrote (default save)")
    add("--pool", type=Path, required=True, metavar="FILE", help="paths that `cream.make_pool` has drawn")
    add("--target_arch_num", metavar="PATHS", help=f"some of them, beside those of the truth: {NUMBERS} (default: all)")
    add("--ground_truth", type=Path, metavar="FILE", help="accuracies of some of them that `cream.truth` has found")
    add("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")
    add_config_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
