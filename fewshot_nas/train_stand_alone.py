"""Train subnets from scratch, one after the other: archs of the ground truth, or one network by its code."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, read_numbers, run
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.found import read_best
from fewshot_nas.results.run import run_files
from fewshot_nas.running.options import add_executor_options, add_run_options, run_config, uses_ray
from fewshot_nas.space.pool import id_beside, read_pool
from fewshot_nas.space.space import Arch, Space

if TYPE_CHECKING:
    from fewshot_nas.running.networks import StandAlone

TRUTH_ARCHS = 30  # archs in a ground truth
_EXPECTED = "a number such as 1, a list such as 1,5,9, a range such as 1-30, all, or a code"


def main(argv: Sequence[str] | None = None) -> int:
    """Train the archs that the ground truth does not have with this seed."""
    options = _parser().parse_intermixed_args(argv)
    best = read_best(options.from_search, options.save) if options.from_search else None
    searched = PhaseDirectory(best.model.parent).config if best else None
    on_ray, config = uses_ray(options), run_config(options, searched)
    space, text = config.space.build(), best.code if best else options.target_arch_num
    pool = {arch_id: arch for part in read_pool(config.run.pool_path, space) for arch_id, arch in part.items()}
    # A code names a network to be used, such as a search's best; numbers name archs of a ground truth.
    own = None if _is_code(text, space) else run_files(options.save).ground_truth
    path = options.ground_truth or own
    if on_ray and options.plan:
        raise InputError("--plan measures on this machine; leave out --executor ray")
    if on_ray and path is None:
        raise InputError("--executor ray is for a ground truth; a code is trained here, or give --ground_truth FILE")
    if options.no_test and path is not None:
        raise InputError("--no_test is for one network by its code; a ground truth has accuracies on the test images")
    chosen = dict(_selected(text, pool, space, in_truth=path is not None))
    if best and path is None:
        chosen = dict(zip([best.search], chosen.values(), strict=True))
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.networks import GroundTruth, StandAlone, train_all
    from fewshot_nas.running.run import Run

    with joined("cpu" if on_ray else options.device, config.run) as world:
        run = Run.asked(options, config, world, searched)
        truth = GroundTruth(path) if path else None
        tests = not options.no_test
        trainings = [StandAlone.of(run, arch_id, arch, truth, tests=tests) for arch_id, arch in chosen.items()]
        if on_ray:
            _train_on_ray(options, trainings)
        else:
            train_all(trainings)
    return 0


def _train_on_ray(options: argparse.Namespace, trainings: Sequence["StandAlone"]) -> None:
    from tqdm import tqdm

    from fewshot_nas.cluster.pool import workers_on
    from fewshot_nas.cluster.work import train

    settings = trainings[0].run.config.run
    train(trainings, lambda: workers_on(options.address, options.workers, options.device, settings, tqdm.write))


def _selected(text: str, pool: dict[str, Arch], space: Space, *, in_truth: bool) -> Iterator[tuple[str, Arch]]:
    """The archs that `--target_arch_num` names, with their ids.

    Args:
        in_truth: whether they are for a ground truth, which knows archs by the pool's ids.
    """
    if _is_code(text, space):
        arch = space.decode(text)
        known = (arch_id for arch_id, each in pool.items() if in_truth and each == arch)
        yield next(known, id_beside(space.encode(arch))), arch
        return
    if text == "all":
        yield from islice(pool.items(), TRUTH_ARCHS)
        return
    for number in read_numbers("--target_arch_num", text, _EXPECTED, len(pool)):
        if f"arch{number}" not in pool:
            raise InputError(f"--target_arch_num names arch{number}, but the pool has {len(pool)} archs")
        yield f"arch{number}", pool[f"arch{number}"]


def _is_code(text: str, space: Space) -> bool:
    return text.startswith("[") or (len(text) >= space.code_length - 1 and text.isdigit())


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.train_stand_alone", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--target_arch_num",
        metavar="ARCHS",
        help="number of an arch of the pool, a list (1,5,9), a range (1-30), all (the first 30, or fewer), or a code",
    )
    what.add_argument("--from_search", type=Path, metavar="FILE", help="found.json of a search, whose best arch counts")
    parser.add_argument(
        "--ground_truth",
        type=Path,
        metavar="FILE",
        help="file to add to (default results/<save>/gt_arch30.json, for a code or a search none)",
    )
    parser.add_argument("--no_test", action="store_true", help="leave the test images for one look later")
    add_executor_options(parser)
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
