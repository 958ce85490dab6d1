"""Write one network for other programs: a subnet of a supernet, or a network that was trained alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_config_options, add_device_option


def main(argv: Sequence[str] | None = None) -> int:
    """Take the network, measure it, and write weights, deployment card and, if asked, an ONNX file."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.export import export  # here, so that --help need not wait for torch

    export(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.export", description=__doc__)
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        required=True,
        metavar="PATH",
        help="a supernet's checkpoint, ours or a published one, or a subnet.pth of finetune or train_stand_alone",
    )
    add("--arch", metavar="CODE", help="the subnet's code, as in the pool; needed for a supernet")
    add("--out", type=Path, metavar="PATH", help="the weights, .pt, .pt2 or .safetensors (default: CODE.pt)")
    add("--onnx", action="store_true", help="write an ONNX file beside the weights, for any batch size")
    add(
        "--with-preprocessing",
        "--with_preprocessing",
        action="store_true",
        help="the ONNX file and a .pt2 take pixels 0..255 as uint8, and give probabilities",
    )
    int8 = "write a second ONNX file, .int8.onnx, of 8 bit integers, and compare accuracy and latency of both"
    add("--int8", action="store_true", help=int8)
    add(
        "--calibrate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="estimate the batch norms of a subnet on training images, and score it on the others, all of --config or"
        " of the run that the model lies in (default)",
    )
    add("--resolution", type=int, metavar="N", help="side of the ONNX file's images in pixels (default: the space's)")
    add_device_option(parser)
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
