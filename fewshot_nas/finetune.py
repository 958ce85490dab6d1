"""Train a found arch further, from its weights in the supernet, or a network of a file on other images (--from)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_phase_option, add_run_options


def main(argv: Sequence[str] | None = None) -> int:
    """Train the arch, and write its network and its accuracies."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.running.single import finetune  # here, so that --help need not wait for torch

    finetune(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.finetune", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--arch", metavar="CODE", help="the arch's code (with --from default: the file's, or the largest)"
    )
    what.add_argument("--from_search", type=Path, metavar="FILE", help="found.json of a search, whose best arch counts")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="a network of any run, a supernet, or a state dict of torchvision's or timm's ResNets; for other classes"
        " it gets a new classifier",
    )
    add_phase_option(parser, None, "the one searched, else 1")
    add("--model_name", help="checkpoint in the phase's directory (default: the one searched, else supernet)")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
