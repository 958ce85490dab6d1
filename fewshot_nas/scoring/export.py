"""What the command `export` does: one network, calibrated, scored, and written for other programs with its card."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.checkpoint import is_subnet, read_checkpoint, subnet_of, supernet_of
from fewshot_nas.models.export import (
    CardFile,
    Preprocessed,
    Provenance,
    check_formats,
    deployment_card,
    write_onnx,
    write_weights,
)
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.running.images import evaluation_inputs, images_for, opened
from fewshot_nas.running.manifest import fixed_by_network, refuse_settings
from fewshot_nas.running.options import config_of, first_line
from fewshot_nas.space.space import Arch, Space

_UNCALIBRATED = (
    "The batch norm statistics are not calibrated: run training images through the network before you score it."
)
_UNKNOWN = "The card tells neither preprocessing nor scores, because no settings tell the images: give --config."


class Exported(NamedTuple):
    """A network to export; `trained` if its batch norm statistics are its own."""

    module: Subnet
    space: Space
    arch: Arch
    trained: bool


def export(options: argparse.Namespace) -> None:
    """Take the network, measure it, and write weights, deployment card and, if asked, an ONNX file."""
    _check(options)
    stored = PhaseDirectory(options.model.parent).config
    config = config_of(options, stored)
    check_formats(options.out or Path("network.pt"), options.onnx)
    network = _network(options)
    source = {"model": str(options.model), "sha256": sha256(options.model)}
    code = network.space.encode(network.arch)
    out = options.out or Path(f"{code}.pt")
    card_file = CardFile(out, options.onnx)
    card_file.refuse_another({"code": code, "source": source})
    told = bool(options.config or options.overrides or stored.exists())
    if not told and (options.with_preprocessing or (options.calibrate and not network.trained)):
        raise InputError(
            f"{stored}: no such file, so nobody knows which images the model was trained on;"
            " give --config, or --no-calibrate"
        )
    resolution = options.resolution or network.space.resolution
    refuse_settings(config, options.model, fixed_by_network(network.space, network.module.num_classes))
    classes = network.module.trained_on.get("classes", ())
    provenance, said = Provenance(classes=classes, source=source), _UNKNOWN if network.trained else _UNCALIBRATED
    if not (told and options.calibrate):
        print(first_line(f"network {code} of {options.model}", space=network.space.name))
    else:
        with joined(options.device, config.run) as world:
            network.module.to(world.device)
            provenance, said = _measured(config, network, resolution, source, world)
            network.module.cpu()  # files are written for any machine
    card = deployment_card(network.space, network.arch, network.module.num_classes, resolution, provenance)
    card_file.refuse_another(card)
    _write(options, network, card, out, card_file)
    print(said)


def _check(options: argparse.Namespace) -> None:
    if options.resolution is not None and options.resolution < 1:
        raise InputError(f"--resolution is {options.resolution}, expected a number of pixels")
    if options.with_preprocessing and not (options.onnx and options.calibrate):
        raise InputError("--with-preprocessing is for --onnx, and needs the images' settings (not --no-calibrate)")


def _network(options: argparse.Namespace) -> Exported:
    content = read_checkpoint(options.model)
    if is_subnet(content):
        network = Exported(*subnet_of(options.model, content), trained=True)
        if options.arch is not None and network.space.decode(options.arch) != network.arch:
            raise InputError(f"{options.model}: holds arch {network.space.encode(network.arch)}, not {options.arch}")
        return network
    supernet = supernet_of(options.model, content)
    if options.arch is None:
        raise InputError(f"{options.model}: holds a supernet, so --arch has to name the subnet")
    arch = supernet.space.decode(options.arch)
    return Exported(extract(supernet, arch), supernet.space, arch, trained=False)


def _measured(
    config: Config, network: Exported, resolution: int, source: dict[str, str], world: World
) -> tuple[Provenance, str]:
    """Calibrate the network if it needs it, and score it. Returns the knowledge about it, and a line for the user."""
    module = network.module
    data = images_for(config, source["model"], network.space, module.num_classes, module.trained_on)
    if data.num_classes != module.num_classes:
        raise InputError(f"the model has {module.num_classes} classes, but {data.name} has {data.num_classes}")
    what = f"network {network.space.encode(network.arch)} of {source['model']}"
    print(opened(what, data, network.space.name, world))
    parts = {"validation": data.valid} | ({} if data.test is data.valid else {"test": data.test})
    inputs = {name: evaluation_inputs(config, network.space, data, images, world) for name, images in parts.items()}
    calibration = None
    if not network.trained:
        calibrate(network.module, inputs["validation"].calibration_batches())
        images = len(inputs["validation"].calibration)
        calibration = {"images": images, "of": f"training images of {data.name}", "fingerprint": data.train.fingerprint}
    scores = [
        _score(network, name, inputs[name], {"data": data.name, "fingerprint": images.fingerprint})
        for name, images in parts.items()
    ]
    preprocessing = {
        **data.reading(),
        "colour": "RGB" if network.space.in_channels == 3 else f"{network.space.in_channels} channel",
        **eval_transform(data.recipe, resolution).described(),
        "divide_by": 255,
        "mean": list(data.mean),
        "std": list(data.std),
    }
    classes = module.trained_on.get("classes") or (data.class_names if data.classes else ())
    provenance = Provenance(preprocessing, classes, scores, calibration, source)
    said = [f"top-1 {each['top1']:.2f} % on {each['images']} {each['part']} images of {data.name}" for each in scores]
    begin = "" if network.trained else f"calibrated on {len(inputs['validation'].calibration)} training images; "
    return provenance, begin + ", ".join(said)


def _score(network: Exported, part: str, inputs: Inputs, images: dict[str, Any]) -> dict[str, Any]:
    seen = {"part": part, "images": len(inputs.images), "resolution": inputs.images.shape[-1]}
    return {**seen, **asdict(measure(network.module, inputs)), **images}


def _write(
    options: argparse.Namespace, network: Exported, card: dict[str, Any], out: Path, card_file: CardFile
) -> None:
    """Write the files, the card inside those that have room for it, and beside them with their digests."""
    resolution = options.resolution or network.space.resolution
    write_weights(out, network.module, resolution, json.dumps(card))
    print(f"weights: {out}")
    files = [out]
    if options.onnx:
        card = {**card, "onnx": _onnx_form(options.with_preprocessing)}
        shown, inside = card["preprocessing"], options.with_preprocessing
        files.append(out.with_suffix(".onnx"))
        module = Preprocessed(network.module, shown["mean"], shown["std"]) if inside else network.module
        write_onnx(files[-1], module, resolution, json.dumps(card))
        print(f"onnx: {files[-1]}")
    card_file.write(card, files)
    print(f"card: {card_file.path}")


def _onnx_form(with_preprocessing: bool) -> dict[str, str]:
    if with_preprocessing:
        return {"input": "pixels, uint8: resized and cropped, not divided or normalised", "output": "probabilities"}
    return {"input": "images, float32: after all of the preprocessing", "output": "logits"}
