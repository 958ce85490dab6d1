"""Split a trained supernet into more groups and train it on: one few-shot phase."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_phase_option, add_run_options
from fewshot_nas.space.split import MAX_GROUPS


def main(argv: Sequence[str] | None = None) -> int:
    """Train one phase of a run, into results/<save>/<phase>/."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.running.phases import train_few_shot  # here, so that --help need not wait for torch

    train_few_shot(options)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="fewshot_nas.train_few_shot",
        description=f"{__doc__ or ''} Without a parent's path, the last phase of the same --save is split.",
    )
    add_phase_option(parser, None, f"none; a phase to train has 2..{MAX_GROUPS} groups")
    parser.add_argument(
        "--split_by",
        default="width",
        metavar="RULE",
        help="what groups differ in: width (default), choice, none (the parent is trained on as it is), or module:name,"
        " a function of your own that makes a Split of a space",
    )
    parser.add_argument("--slots", metavar="NAME,NAME", help="choices to split by, such as '0 block 1'")
    parser.add_argument("--pretrained_path", type=Path, metavar="FILE", help="one-shot supernet to split")
    parser.add_argument("--split_model_path", type=Path, metavar="FILE", help="few-shot supernet to split")
    parser.add_argument("--resumed_split_groups", type=int, metavar="P", help="groups that the parent has")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
