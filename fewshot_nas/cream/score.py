"""Score paths of a pool with the supernet of a search, and compare the scores with a ground truth."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.cli.pace import Pace
from fewshot_nas.cli.settings import compared, load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.model import FORM
from fewshot_nas.options import add_config_options, following
from fewshot_nas.records.comparing import SETTINGS, flat, refuse_difference
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import SearchDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.run import search_directory
from fewshot_nas.results.scores import read_manifest
from fewshot_nas.space.pool import Entry, read_arch_file, write_arch_file

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
    space = config.budget().space
    pool = read_arch_file(options.pool, space)
    truth = read_arch_file(options.ground_truth, space) if options.ground_truth else {}
    _refuse_others(options.ground_truth, truth, pool)
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.evaluation.accuracy import guessing

    with joined(options.device, config.run) as world:
        resolution = config.IMAGE_SIZE or space.resolution
        words = f"search {directory.path}"
        training = CreamRun(config, resolution, world, True, speaker(world.is_rank0), config.held_images, words)
        _refuse_other_settings(training, directory)
        found = _scores(training, config, directory, pool)
        if world.is_rank0:
            write_arch_file(directory.path_scores, space, {i: Entry(found[i].prob, pool[i].arch) for i in pool})
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


def _refuse_others(file: Path | None, truth: Mapping[str, Entry], pool: Mapping[str, Entry]) -> None:
    for arch_id, entry in truth.items():
        if arch_id not in pool or pool[arch_id].arch != entry.arch:
            raise InputError(f"{file}: {arch_id} is another path than in the pool; does it belong to another pool?")


def _scores(
    training: "CreamRun", config: SearchConfig, directory: SearchDirectory, pool: Mapping[str, Entry]
) -> dict[str, "ScoredPath"]:
    """By arch id, with scores on the ranking images and as the board would measure the paths."""
    from fewshot_nas.cream.board_keeping import board_scores
    from fewshot_nas.cream.ranking import ScoredPath
    from fewshot_nas.data.images import calibration_subset

    data, budget = training.data, config.budget()
    supernet, paths = supernet_of(training, config, directory), [entry.arch for entry in pool.values()]
    shown = training.held if config.BOARD == "review" else calibration_subset(data.train, config.BATCH_SIZE, seed=0)
    on_board, ranking = (training.inputs(images, config.CALIBRATION_IMAGES) for images in (shown, data.valid))
    board = board_scores(config.BOARD, supernet, paths, on_board, training.world)
    scores = _ranked(training, supernet, paths, ranking)
    found = {}
    for (arch_id, entry), accuracy, measured in zip(pool.items(), scores, board, strict=True):
        cost = supernet.space.cost(entry.arch, num_classes=data.num_classes)
        found[arch_id] = ScoredPath(entry.arch, budget.mflops(entry.arch), cost, accuracy.prob, accuracy.top1, measured)
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
    space = replace(config.budget().space, in_channels=len(data.mean), resolution=supernet.space.resolution)
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

    ranking = ranking_of(config.budget().space, found, truth, MEASURES[config.BOARD])
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
    add("--ground_truth", type=Path, metavar="FILE", help="accuracies of some of them that `cream.truth` has found")
    add("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")
    add_config_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
