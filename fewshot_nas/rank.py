"""Predict every arch's accuracy, with its uncertainty, from merged scores, costs and the truths there are."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_config_options, add_measure_options, add_phase_option, add_save_option


def main(argv: Sequence[str] | None = None) -> int:
    """Write predictions for the whole pool, and say how well each ranking orders the truth."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.rank import rank  # here, so that --help need not wait for numpy

    rank(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.rank", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_phase_option(parser, None, "the last that has merged scores")
    add(
        "--scores",
        type=Path,
        action="extend",
        nargs="+",
        metavar="DIR",
        help="evaluations with merged scores, whose mean counts (default: the one of the phase)",
    )
    add_measure_options(parser)
    add(
        "--untrained",
        type=int,
        default=0,
        metavar="N",
        help="also go by N networks that nothing has trained (NASWOT, arXiv:2006.04647); 1000 are enough, 0: none",
    )
    add("--suggest", type=int, default=0, metavar="N", help="name N archs whose stand-alone training would teach most")
    add(
        "--proxy",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a function of your own that maps a space and an arch to a number; may be given several times",
    )
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
