"""What the plan has to know of this machine: a training step, a call of a network, the preparation of an image."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from typing import Any, Literal, cast

import torch
from torch import nn

from fewshot_nas.computing import cores, numerics
from fewshot_nas.data.images import FileImages, Images, spread
from fewshot_nas.data.pictures import Pixels, shrunk
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.fitting.timings import Timings, key, measured, threads_of
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import by_width
from fewshot_nas.timing.measuring import rounds
from fewshot_nas.timing.programs import Program, Programs
from fewshot_nas.training.draws import OutsEnds, RandomArchs, Sampler
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Batch, Learning, Step, plain_groups, sgd

_PICTURES, _BOUTS = 24, 3  # that are prepared to know how long one takes, and in how many parts
_TURNS = 9
_ASKED = 128  # images at a time, as in scores
FASTER = 1.3  # what several threads, or bf16, have to gain
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Machine:
    """Measures on a device: seconds as if nothing else ran there, unless it is said otherwise.

    Attributes:
        classes: of the networks.
        given: threads that were given, so that none are measured.
        precision: of training steps. None: bf16 on GPUs, else fp32.
        timings: what was measured before.
    """

    device: torch.device
    classes: int
    given: int | None = None
    precision: Precision | None = None
    timings: Timings = field(default_factory=Timings)

    @property
    def slowed(self) -> float:
        """How many times as long as alone everything takes."""
        return self.timings.slowed

    def step_s(self, space: Space, arch: Arch, batch: int) -> float:
        """Seconds of a training step of one network, without its images."""
        return self._alone_s(
            self._key("step", space, arch, batch, self._precision), lambda: self._step(space, arch, batch)
        )

    def forward_s(self, space: Space, arch: Arch) -> float:
        """Seconds of an image of a network that is only asked, with many at a time."""

        def making() -> Program:
            network = Subnet(space, arch, self.classes).to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            images = torch.randn(_ASKED, space.in_channels, space.resolution, space.resolution, device=self.device)
            images = images.contiguous(memory_format=torch.channels_last)

            def run() -> None:
                with torch.inference_mode():
                    network(images)

            return run

        return self._alone_s(self._key("images", space, arch), making) / _ASKED

    def supernet_step_s(self, space: Space, batch: int) -> float:
        """Seconds of a training step of a supernet, with the usual sandwich."""
        options = space.pool_options
        sampler = Sampler(RandomArchs(space, 0, options), OutsEnds(space, 0, options), middle=2)
        step, name = (
            SupernetStep(sampler, precision=self._precision),
            self._key("supernet", space, batch, self._precision),
        )
        return self._alone_s(
            name, lambda: self._training(Supernet(by_width(space, 1), self.classes), step, space, batch)
        )

    @property
    def _precision(self) -> Precision:
        return self.precision or ("bf16" if self.device.type == "cuda" else "fp32")

    def _key(self, what: str, *values: Any) -> str:
        return key(what, *values, self.classes, torch.get_num_threads())

    def _alone_s(self, name: str, making: Callable[[], Program]) -> float:
        """Seconds of a call of a program, which is only made if they are not known."""
        one_thread = self.device.type == "cpu" and torch.get_num_threads() == 1
        return self.timings.alone_s(name, lambda: self._waiting(making()), one_thread=one_thread)

    def _waiting(self, program: Program) -> Program:
        def run() -> None:
            program()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return run

    def _step(self, space: Space, arch: Arch, batch: int) -> Program:
        return self._training(Subnet(space, arch, self.classes), Learning(0.0, self._precision), space, batch)

    def _training(self, network: nn.Module, step: Step, space: Space, batch: int) -> Program:
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer, numbers = sgd(plain_groups(network, 0.0), 0.9), count()
        images = torch.randn(batch, space.in_channels, space.resolution, space.resolution, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.arange(batch, device=self.device) % self.classes

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            step.backward(network, Batch(images, labels, next(numbers)))
            optimizer.step()

        return run

    def calls_us(self, space: Space, archs: list[Arch]) -> list[float]:
        """Microseconds of networks for one image, timed in turns as by `latency`; the fastest turn counts."""
        names = [key("call", space, arch, self.classes) for arch in archs]
        if not all(name in self.timings.known for name in names):
            programs = Programs(space, self.classes, "torch", self.device, batch=1, threads=1)
            with threads_of(1):
                made = {number: programs.of_arch(arch) for number, arch in enumerate(archs)}
                turns = list(rounds(made, _TURNS, stopwatch=programs.stopwatch))
            found = [1e-6 * min(turn[number] for turn in turns) for number in made]
            self.timings.keep(dict(zip(names, found, strict=True)))
        return [1e6 * self.timings.known[name] for name in names]

    def threads(self, space: Space, arch: Arch, batch: int) -> int:
        """The threads with which a step is fastest: all cores, where they are worth it, else one."""
        if self.given or self.device.type != "cpu" or cores() == 1:
            return self.given or 1

        def measure() -> float:
            seconds = {}
            for threads in (1, cores()):
                with threads_of(threads):
                    seconds[threads], *_ = measured(self._step(space, arch, batch), one_thread=False)
            return cores() if seconds[1] > FASTER * seconds[cores()] else 1

        return int(self.timings.seconds(key("threads", space, arch, batch, self._precision), measure))

    def faster_step(self, space: Space, arch: Arch, batch: int) -> tuple[Precision, float]:
        """The precision to train with, and the seconds of a step: bf16 on GPUs, and where it is enough faster."""
        if self.precision or self.device.type == "cuda":
            return self._precision, self.step_s(space, arch, batch)
        seconds = {each: replace(self, precision=each).step_s(space, arch, batch) for each in ("fp32", "bf16")}
        chosen: Precision = "bf16" if seconds["fp32"] > FASTER * seconds["bf16"] else "fp32"
        return chosen, seconds[chosen]


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What times belong to."""
    facts = numerics(device)
    return {name: facts[name] for name in ("device", "torch", "onednn_isa")} | {
        "host": platform.node(),
        "cores": cores(),
    }


def decoding_s(images: Images, timings: Timings) -> float:
    """Seconds to decode one image, with what its disk takes; 0 if they are in memory."""
    if not isinstance(images, FileImages):
        return 0.0
    places = spread(len(images), _PICTURES)

    def measure() -> float:
        parts = [places[first::_BOUTS] for first in range(_BOUTS)]
        return median(_decoded_s(images, part) for part in parts if len(part))

    return timings.seconds(_of_images("decoding", images), measure)


def _decoded_s(images: Images, places: Any) -> float:
    start = time.perf_counter()
    for place in places:
        images.image(place)
    return (time.perf_counter() - start) / len(places)


def preparing_s(images: Images, recipe: str, resolution: int, side: int | None, timings: Timings) -> float:
    """Seconds to prepare one image for training, once it is decoded and stored with a shorter side."""
    places = spread(len(images), _PICTURES)

    def making() -> Program:
        pixels = [images.image(place) for place in places]
        given: Pixels = pixels if isinstance(images, FileImages) else torch.stack(pixels)
        if isinstance(images, FileImages) and side:
            given = [shrunk(each, _shorter(each, side)) for each in pixels]
        transform, draws = train_transform(recipe, resolution), torch.arange(len(places))
        return lambda: transform(given, draws)

    one_thread, name = torch.get_num_threads() == 1, _of_images("preparing", images, recipe, resolution, side)
    return timings.alone_s(name, making, one_thread=one_thread, enough_s=0.2) / len(places)


def _of_images(what: str, images: Images, *values: Any) -> str:
    """A name for times that depend on the images, by their number and labels, and the first file."""
    first = images.names[0] if isinstance(images, FileImages) else ""
    return key(what, len(images), first, images.labels.tolist(), *values)


def _shorter(image: torch.Tensor, side: int) -> tuple[int, int]:
    height, width = image.shape[-2:]
    return cast(tuple[int, int], tuple(max(1, length * side // min(height, width)) for length in (height, width)))
