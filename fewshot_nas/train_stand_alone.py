"""Train subnets from scratch, one after the other: archs of the ground truth, or one network by its code."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_executor_options, add_run_options, uses_ray

if TYPE_CHECKING:
    from fewshot_nas.running.networks import StandAlone


def main(argv: Sequence[str] | None = None) -> int:
    """Train the archs that the ground truth does not have with this seed."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.running.single import train_stand_alone  # here, so that --help need not wait for torch

    train_stand_alone(options, partial(_train_on_ray, options) if uses_ray(options) else None)
    return 0


def _train_on_ray(options: argparse.Namespace, trainings: Sequence["StandAlone"]) -> None:
    from tqdm import tqdm

    from fewshot_nas.cluster.pool import workers_on
    from fewshot_nas.cluster.work import train

    settings = trainings[0].run.config.run
    train(trainings, lambda: workers_on(options.address, options.workers, options.device, settings, tqdm.write))


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
