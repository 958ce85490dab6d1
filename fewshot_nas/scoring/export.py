"""What the command `export` does: one network, calibrated, scored, and written for other programs with its card."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.data.transforms import eval_transform, normalize
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Inputs, Sums, sums
from fewshot_nas.evaluation.naive import answers, calibrate
from fewshot_nas.models.card import CardFile, Provenance, deployment_card, form, python_lines
from fewshot_nas.models.checkpoint import is_subnet, read_checkpoint, subnet_of, supernet_of
from fewshot_nas.models.export import Preprocessed, check_formats, int8_program, onnx_program, write_onnx, write_weights
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.ranking.confidence import (
    Numbers,
    as_logits,
    calibration_error,
    gain,
    temperature,
    tempered,
    threshold,
    top1,
)
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.running.images import evaluation_inputs, images_for, opened
from fewshot_nas.running.manifest import fixed_by_network, refuse_settings
from fewshot_nas.running.options import config_of, first_line
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.timing.measuring import rounds, timings
from fewshot_nas.timing.programs import described, session_run

Logits = Mapping[str, Numbers]  # [N, classes] by part: validation, test
_ROUNDS = 20  # in which programs are timed
_CALIBRATION_BATCH = 64
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
    """Take the network, measure it, and write weights, deployment card and, if asked, ONNX files."""
    _check(options)
    stored = PhaseDirectory(options.model.parent).config
    config = config_of(options, stored)
    check_formats(options.out or Path("network.pt"), options.onnx)
    network = _network(options)
    source = {"model": str(options.model), "sha256": sha256(options.model)}
    code = network.space.encode(network.arch)
    out = options.out or Path(f"{code}.pt")
    files = [out, *map(out.with_suffix, [".onnx"] * options.onnx + [".int8.onnx"] * options.int8)]
    card_file = CardFile(files)
    card_file.refuse_another({"code": code, "source": source})
    has_settings = bool(options.config or options.overrides or stored.exists())
    if not has_settings and (options.with_preprocessing or options.int8 or (options.calibrate and not network.trained)):
        raise InputError(
            f"{stored}: no such file, so nobody knows which images the model was trained on;"
            " give --config, or --no-calibrate"
        )
    refuse_settings(config, options.model, fixed_by_network(network.space, network.module.num_classes))
    space = replace(network.space, resolution=options.resolution or network.space.resolution)
    with joined(options.device, config.run) as world:
        if has_settings and options.calibrate:
            known, inputs = _known(config, network, space, source, world)
        else:
            print(first_line(f"network {code} of {options.model}", space=space.name))
            known, inputs = Provenance(classes=network.module.trained_on.get("classes", ()), source=source), {}
        scored = {} if options.onnx else inputs
        logits: Logits = {part: answers(network.module, each).numpy() for part, each in scored.items()}
    network.module.cpu()  # files are written for any machine
    how, pixels = known.preprocessing, options.with_preprocessing
    inside = Preprocessed(network.module, how["mean"], how["std"]) if pixels and how else network.module
    programs = [onnx_program(inside, space.resolution)] if options.onnx else []
    if options.int8:
        programs.append(quantized(programs[0], inputs, pixels=pixels))
    if programs:  # what is scored is the file that will be used
        logits = logits_of(programs[0], inputs, pixels=pixels)
    if inputs:
        scores, confidence = scores_of(logits, inputs, known.scores)
        known = replace(known, scores=scores, confidence=confidence)
    card = deployment_card(space, network.arch, network.module.num_classes, known)
    card_file.refuse_another(card)
    cards = _cards(card, programs, inputs, logits, files, pixels=pixels)
    write_weights(out, inside if out.suffix == ".pt2" else network.module, space.resolution, json.dumps(cards[0]))
    print(f"weights: {out}")
    for path, program, own in zip(files[1:], programs, cards, strict=False):
        write_onnx(path, program, json.dumps(own))
        print(f"onnx: {path}, {own['latency']['us']:.0f} us an image")
    card_file.write(cards[0], files)
    print(f"card: {card_file.path}")
    for part, (points, low, high) in cards[0].get("int8", {}).get("change", {}).items():
        print(f"int8: top-1 {points:+.2f} points [{low:+.2f}, {high:+.2f}] on the {part} images")
    if not inputs:
        print(_UNKNOWN if network.trained else _UNCALIBRATED)
        return
    begin = "" if network.trained else f"calibrated on {len(inputs['validation'].calibration)} training images; "
    said = "top-1 {top1:.2f} % on {images} {part} images of {data}"
    print(begin + ", ".join(map(said.format_map, scores)))


def _check(options: argparse.Namespace) -> None:
    if options.resolution is not None and options.resolution < 1:
        raise InputError(f"--resolution is {options.resolution}, expected a number of pixels")
    program = options.onnx or (options.out and options.out.suffix == ".pt2")
    if options.with_preprocessing and not (program and options.calibrate):
        raise InputError(
            "--with-preprocessing is for --onnx and .pt2, and needs the images' settings (not --no-calibrate)"
        )
    if options.int8 and not (options.onnx and options.calibrate):
        raise InputError("--int8 is for --onnx, and needs the images' settings (not --no-calibrate)")


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


def _known(
    config: Config, network: Exported, space: Space, source: dict[str, str], world: World
) -> tuple[Provenance, dict[str, Inputs]]:
    """Calibrate the network if it needs it. Returns what the card says but for accuracies, and the images to score on.

    Args:
        space: with the resolution of the images.
    """
    module = network.module.to(world.device)
    data = images_for(config, source["model"], network.space, module.num_classes, module.trained_on)
    if data.num_classes != module.num_classes:
        raise InputError(f"the model has {module.num_classes} classes, but {data.name} has {data.num_classes}")
    print(opened(f"network {space.encode(network.arch)} of {source['model']}", data, space.name, world))
    parts = {"validation": data.valid} | ({} if data.test is data.valid else {"test": data.test})
    inputs = {name: evaluation_inputs(config, space, data, images, world) for name, images in parts.items()}
    calibration = None
    if not network.trained:
        calibrate(module, inputs["validation"].calibration_batches())
        images = len(inputs["validation"].calibration)
        calibration = {"images": images, "of": f"training images of {data.name}", "fingerprint": data.train.fingerprint}
    preprocessing = {
        **data.reading(),
        "colour": "RGB" if space.in_channels == 3 else f"{space.in_channels} channel",
        **eval_transform(data.recipe, space.resolution).described(),
        "divide_by": 255,
        "mean": list(data.mean),
        "std": list(data.std),
    }
    classes = module.trained_on.get("classes") or (data.class_names if data.classes else ())
    scored = [{"part": part, "data": data.name, "fingerprint": each.fingerprint} for part, each in parts.items()]
    return Provenance(preprocessing, classes, scored, None, calibration, source), inputs


def _cards(
    card: dict[str, Any],
    programs: Sequence[bytes],
    inputs: Mapping[str, Inputs],
    logits: Logits,
    files: Sequence[Path],
    *,
    pixels: bool,
) -> list[dict[str, Any]]:
    """The card beside the files and in all but the int8 one, and the latter's own.

    Args:
        logits: of the first program.
    """
    if files[0].suffix == ".pt2":
        card = {**card, "pt2": form(pixels=pixels)}
    if not programs:
        return [card]
    times = latencies(programs, np.zeros([1, *card["input"]["shape"][1:]], np.uint8 if pixels else np.float32))
    card = {**card, "onnx": form(pixels=pixels), "latency": times[0]}
    if readable := card["preprocessing"] and card["preprocessing"]["colour"] in ("RGB", "1 channel"):
        card["python"] = python_lines(card, files[1].name)
    if len(programs) == 1:
        return [card]
    now = logits_of(programs[1], inputs, pixels=pixels)
    scores, confidence = scores_of(now, inputs, card["scores"])
    own = {"scores": scores, "confidence": confidence, "latency": times[1]}
    card["int8"] = {**own, "change": differences(now, logits, inputs)}
    python = {"python": python_lines(card, files[2].name)} if readable else {}
    return [card, {**card, **own, **python}]


# ---- the network's confidence, and ONNX files: quantised, scored and timed as they will run --------------------------


def scores_of(
    logits: Logits, inputs: Mapping[str, Inputs], known: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The scores of each part in percent, and the temperature and threshold, which are of the validation images.

    Args:
        known: of each part its name, `part`, and what else its score is to say.
    """
    valid = logits["validation"]
    by = temperature(valid, inputs["validation"].labels.numpy())
    limit = threshold(tempered(valid, by))
    scores = []
    for each in known:
        found, own = logits[each["part"]], inputs[each["part"]]
        images, labels, sure = len(found), own.labels.numpy(), tempered(found, by)
        total = Sums(*sums(torch.from_numpy(found), own.labels).tolist())
        right = found.argmax(1) == labels
        scores.append(
            {
                **each,
                "images": images,
                "resolution": own.images.shape[-1],
                **asdict(total.accuracy(images)),
                "top1": 100 * int(right.sum()) / images,  # of equal answers the first counts, as in `predict`
                "top1_interval": top1(right)[1:],
                "calibration_error": calibration_error(tempered(found, 1), labels),
                "calibration_error_tempered": calibration_error(sure, labels),
                "rejected": round(100 * float((sure.max(1) < limit).mean()), 2),
            }
        )
    return scores, {"temperature": by, "threshold": limit, "validation_images": len(valid)}


def quantized(program: bytes, inputs: Mapping[str, Inputs], *, pixels: bool) -> bytes:
    """The program with 8 bit integers, calibrated on the images that batch norms are calibrated on."""
    own = inputs["validation"]
    batches = torch.split(own.calibration.cpu(), _CALIBRATION_BATCH)
    return int8_program(program, (_input(batch, own, pixels=pixels) for batch in batches))


def logits_of(program: bytes, inputs: Mapping[str, Inputs], *, pixels: bool) -> Logits:
    """What onnxruntime computes, as logits."""
    run = session_run(program, torch.get_num_threads())
    found = {}
    for part, each in inputs.items():
        batches = [_input(batch, each, pixels=pixels) for batch in torch.split(each.images.cpu(), each.batch)]
        values = np.concatenate([run(batch) for batch in batches])
        found[part] = as_logits(values) if pixels else values
    return found


def _input(batch: Tensor, inputs: Inputs, *, pixels: bool) -> npt.NDArray[Any]:
    return np.ascontiguousarray((batch if pixels else normalize(batch, inputs.mean, inputs.std)).numpy())


def differences(now: Logits, before: Logits, inputs: Mapping[str, Inputs]) -> dict[str, list[float]]:
    """By how many points the top-1 of each part changed, paired by images, and the 95 % interval."""
    labels = {part: inputs[part].labels.numpy() for part in now}
    right = [{part: (each[part].argmax(1) == labels[part]).astype(float) for part in labels} for each in (now, before)]
    return {part: gain(right[0][part], right[1][part], None) for part in labels}


def latencies(programs: Sequence[bytes], image: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """The latency of each program for one image on one thread: microseconds, their spread over rounds, the machine."""
    calls = {number: partial(session_run(program, threads=1), image) for number, program in enumerate(programs)}
    device = described(torch.device("cpu"), "onnxruntime", threads=1, batch=1)
    times = timings(list(rounds(calls, _ROUNDS)))
    return [{**times[number]._asdict(), **device} for number in calls]
