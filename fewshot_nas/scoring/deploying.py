"""An exported network's confidence, and its ONNX files: quantised, judged and timed as they will run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fewshot_nas.data.transforms import normalize
from fewshot_nas.evaluation.accuracy import Sums, sums
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.export import int8_program
from fewshot_nas.ranking import confidence
from fewshot_nas.timing.measuring import rounds, timings
from fewshot_nas.timing.programs import described, session_run

Logits = Mapping[str, confidence.Numbers]  # [N, classes] by part: validation, test
ROUNDS = 20  # in which programs are timed
_CALIBRATION_BATCH = 64


def judged(
    logits: Logits, inputs: Mapping[str, Inputs], known: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The scores of each part in percent, and the temperature and threshold, which are of the validation images.

    Args:
        known: of each part its name, `part`, and what else its score is to say.
    """
    valid = logits["validation"]
    by = confidence.temperature(valid, inputs["validation"].labels.numpy())
    limit = confidence.threshold(confidence.tempered(valid, by))
    scores = []
    for each in known:
        found, own = logits[each["part"]], inputs[each["part"]]
        images, labels, sure = len(found), own.labels.numpy(), confidence.tempered(found, by)
        total = Sums(*sums(torch.from_numpy(found), own.labels).tolist())
        right = found.argmax(1) == labels
        scores.append(
            {
                **each,
                "images": images,
                "resolution": own.images.shape[-1],
                **asdict(total.accuracy(images)),
                "top1": 100 * int(right.sum()) / images,  # of equal answers the first counts, as in `predict`
                "top1_interval": confidence.top1(right)[1:],
                "calibration_error": confidence.calibration_error(confidence.tempered(found, 1), labels),
                "calibration_error_tempered": confidence.calibration_error(sure, labels),
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
        found[part] = confidence.as_logits(values) if pixels else values
    return found


def _input(batch: Tensor, inputs: Inputs, *, pixels: bool) -> npt.NDArray[Any]:
    return np.ascontiguousarray((batch if pixels else normalize(batch, inputs.mean, inputs.std)).numpy())


def differences(now: Logits, before: Logits, inputs: Mapping[str, Inputs]) -> dict[str, list[float]]:
    """By how many points the top-1 of each part changed, paired by images, and the 95 % interval."""
    labels = {part: inputs[part].labels.numpy() for part in now}
    right = [{part: (each[part].argmax(1) == labels[part]).astype(float) for part in labels} for each in (now, before)]
    return {part: confidence.gain(right[0][part], right[1][part], None) for part in labels}


def latencies(programs: Sequence[bytes], image: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """The latency of each program for one image on one thread: microseconds, their spread over rounds, the machine."""
    calls = {number: partial(session_run(program, threads=1), image) for number, program in enumerate(programs)}
    device = described(torch.device("cpu"), "onnxruntime", threads=1, batch=1)
    times = timings(list(rounds(calls, ROUNDS)))
    return [{**times[number]._asdict(), **device} for number in calls]
