"""Join an evaluation's parts into one file per score, and say how well its scores rank the ground truth."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.results.scores import OF_TOP
from fewshot_nas.running.options import add_config_options, add_phase_option, add_save_option


def main(argv: Sequence[str] | None = None) -> int:
    """Merge the parts of one evaluation beside them, and compare the scores with the ground truth."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.merge import merge  # here, so that --help need not wait for numpy

    merge(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.merge", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    default = "the only one that is not merged"
    add("--epoch", metavar="EPOCH", help=f"the evaluation: 17, 17_all_test, 17_sample2000, ... (default: {default})")
    add_phase_option(parser, None, "the one with that evaluation")
    add("--top", choices=OF_TOP, help="merge these scores only: top-1, top-5, mean probability, likelihood")
    add("--parts", metavar="PARTS", help="merge some parts only, such as 1-2; the result says so (default: all)")
    add("--force", action="store_true", help="merge even if manifests are missing or differ")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
