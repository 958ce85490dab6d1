"""Name what images show, by an exported ONNX file alone, on any machine with onnxruntime."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each image: its path, the likeliest class and its probability."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.predict import predict  # here, so that --help need not wait for onnxruntime

    return predict(options)


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.predict", description=__doc__)
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGES", help="image files, and directories of them at any depth")
    add("--model", type=Path, required=True, metavar="FILE", help="an ONNX file that export has written")
    add("--top", type=int, default=1, metavar="K", help="classes to name for each image (default 1)")
    add("--csv", type=Path, metavar="FILE", help="write the same lines as a table")
    labels = "compare with the names of the directories IMAGES/<class>/, and print the accuracy beside the card's"
    add("--labels", action="store_true", help=labels)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
