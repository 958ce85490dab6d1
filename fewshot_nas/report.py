"""Write a run's report: one HTML page with its rankings, scores and training, and figures for papers."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.results.scores import OF_TOP
from fewshot_nas.running.options import add_config_options, add_phase_option, add_save_option


def main(argv: Sequence[str] | None = None) -> int:
    """Read a run's files and write the page."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.report import report  # here, so that --help need not wait for numpy

    report(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.report", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_phase_option(parser, None, "all")
    add("--top", choices=OF_TOP, help="the merged scores to show (default: those that `rank` goes by)")
    add("--out", type=Path, metavar="FILE", help="the page (default results/<save>/report.html)")
    add("--figures", type=Path, metavar="DIR", help="also write figures for papers there, as SVG and PNG")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
