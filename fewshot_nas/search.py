"""Search for the best subnets of a trained supernet within bounds on what they cost."""

import argparse
import re
import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import (
    add_config_options,
    add_device_option,
    add_measure_options,
    add_phase_option,
    add_save_option,
)
from fewshot_nas.space.cost import MEASURES


def main(argv: Sequence[str] | None = None) -> int:
    """Search, and write what was found."""
    options = _parser().parse_intermixed_args(argv)
    # Imported here, so that --help and a wrong bound are answered before torch is there.
    from fewshot_nas.searching.request import request

    asked = request(options)
    from fewshot_nas.searching.explore import search

    search(options, asked)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.search", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_phase_option(parser)
    add("--model_name", default="supernet", help="checkpoint in the phase's directory (default supernet)")
    for option in ("max", "min"):
        add(
            f"--{option}",
            action="append",
            default=[],
            metavar="MEASURE=VALUE",
            help=f"the {'most' if option == 'max' else 'least'} allowed: macs=600M, params=5M, latency=12ms;"
            " may be given several times",
        )
    add("--budget", type=_count, default=1000, metavar="N", help="archs to score (default 1000)")
    add(
        "--minimize",
        action="extend",
        nargs="+",
        default=[],
        choices=MEASURES,
        help="further objectives beside the score; without them, the search is for the best score within the bounds",
    )
    add("--method", choices=("evolution", "random"), default="evolution", help="NSGA-II (default), or random search")
    add("--population", type=_count, default=50, metavar="N", help="archs of a generation (default 50)")
    add("--digits", choices=("pool", "all"), default="pool", help="widths to choose from: the pool's (default), or all")
    add(
        "--by",
        choices=("supernet", "ranker"),
        help="what archs are judged by (default: the ranker, where the run has a ranking, else the supernet)",
    )
    add_measure_options(parser)
    add("--images", type=int, metavar="N", help="score on a fixed part of N images")
    add("--name", metavar="NAME", help="the search's directory under results/<save>/searches/ (default: its bounds)")
    add_device_option(parser)
    add_config_options(parser)
    return parser


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 2:
        raise argparse.ArgumentTypeError(f"is {text}, expected 2 to 999999999")
    return int(text)


if __name__ == "__main__":
    sys.exit(run(main))
