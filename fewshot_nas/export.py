"""Write one subnet of a supernet, or a fine-tuned one, as a network of its own, for other programs."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli import Parser, add_config_options, config_of, run
from fewshot_nas.config import Config
from fewshot_nas.errors import InputError
from fewshot_nas.results import PhaseDirectory
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    from fewshot_nas.models.subnet import Subnet
    from fewshot_nas.models.supernet import Supernet


def main(argv: Sequence[str] | None = None) -> int:
    """Read the supernet, take the subnet out of it, write its weights and, if asked, an ONNX file."""
    options = _parser().parse_intermixed_args(argv)
    if options.resolution is not None and options.resolution < 1:
        raise InputError(f"--resolution is {options.resolution}, expected a number of pixels")
    config = config_of(options, PhaseDirectory(options.model.parent).config)
    # Here, so that --help answers at once.
    from fewshot_nas.models.checkpoint import is_subnet, read_checkpoint, subnet_of
    from fewshot_nas.models.export import check_formats, write_onnx, write_weights

    check_formats(options.out or Path(f"{options.arch}.pt"), options.onnx)
    content = read_checkpoint(options.model)
    if is_subnet(content):
        subnet, space, arch = subnet_of(options.model, content)
        if options.arch is not None and space.decode(options.arch) != arch:
            raise InputError(f"{options.model}: holds arch {space.encode(arch)}, not {options.arch}")
        said = "a trained network, with the batch norm statistics of its training"
    else:
        subnet, space, arch, said = _extracted(options, config, content)
    out = options.out or Path(f"{space.encode(arch)}.pt")
    write_weights(out, subnet)
    print(f"weights: {out}")
    if options.onnx:
        write_onnx(out.with_suffix(".onnx"), subnet, options.resolution or space.resolution)
        print(f"onnx: {out.with_suffix('.onnx')}")
    print(said)
    return 0


def _extracted(
    options: argparse.Namespace, config: Config, content: Mapping[Any, Any]
) -> tuple["Subnet", SearchSpace, Arch, str]:
    """A subnet taken out of a supernet, what it is, and what is to be said of its statistics."""
    from fewshot_nas.models.checkpoint import supernet_of
    from fewshot_nas.models.subnet import extract

    supernet = supernet_of(options.model, content)
    if options.arch is None:
        raise InputError(f"{options.model}: holds a supernet, so --arch has to name the subnet")
    arch, stored = supernet.space.decode(options.arch), PhaseDirectory(options.model.parent).config
    if options.calibrate and not (options.config or options.overrides or stored.exists()):
        raise InputError(
            f"{stored}: no such file, so nobody knows which images the model was trained on;"
            " give --config, or --no-calibrate"
        )
    subnet = extract(supernet, arch)
    said = _calibrated(config, supernet, subnet) if options.calibrate else _UNCALIBRATED
    return subnet, supernet.space, arch, said


_UNCALIBRATED = (
    "The batch norm statistics are not calibrated: run training images through the network before you score it."
)


def _calibrated(config: Config, supernet: "Supernet", subnet: "Subnet") -> str:
    """Give the subnet its statistics, from the images that its run was trained on; what it scores."""
    from fewshot_nas import runs
    from fewshot_nas.distributed import World
    from fewshot_nas.evaluation.naive import calibrate, measure

    data = runs.open_images(config, supernet.space)
    if data.num_classes != supernet.num_classes:
        raise InputError(f"the model has {supernet.num_classes} classes, but {data.name} has {data.num_classes}")
    inputs = runs.evaluation_inputs(config, supernet.space, data, data.valid, World.alone())
    calibrate(subnet, inputs.calibration_batches())
    accuracy = measure(subnet, inputs)
    images = f"{len(inputs.images)} validation images of {data.name}"
    return f"calibrated on {len(inputs.calibration)} training images; top-1 {accuracy.top1:.2f} % on {images}"


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.export", description=__doc__)
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        required=True,
        metavar="PATH",
        help="a supernet's checkpoint, ours or a published one, or a network of finetune",
    )
    add("--arch", metavar="CODE", help="the subnet's code, as in the pool; a network of finetune has its own")
    add("--out", type=Path, metavar="PATH", help="the weights, .pt or .safetensors (default: CODE.pt)")
    add("--onnx", action="store_true", help="write an ONNX file beside the weights, for any batch size")
    add(
        "--calibrate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="estimate the batch norms on training images, of --config or of the run that the model lies in (default)",
    )
    add("--resolution", type=int, metavar="N", help="side of the ONNX file's images in pixels (default: the space's)")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
