"""What the plan has to know of this machine: a training step, a call of a network, the preparation of an image."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import cast

import torch

from fewshot_nas.computing import cores
from fewshot_nas.data.images import FileImages, Images, spread
from fewshot_nas.data.pictures import Pixels, shrunk
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.timing.measuring import rounds, timings
from fewshot_nas.timing.programs import Program, Programs
from fewshot_nas.training.network import Learning
from fewshot_nas.training.optimizer import plain_groups, sgd
from fewshot_nas.training.task import Batch

_STEPS, _LONGEST_S = 5, 2.0
_PICTURES = 24  # that are prepared to know how long one takes
_TURNS = 5
FASTER = 1.3  # what several threads have to gain


@dataclass(frozen=True)
class Machine:
    """Measures on a device.

    Attributes:
        classes: of the networks.
    """

    device: torch.device
    classes: int

    def step_s(self, space: Space, arch: Arch, batch: int) -> float:
        """Seconds of a training step of one network, without its images."""
        network = Subnet(space, arch, self.classes).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer, step = sgd(plain_groups(network, 0.0), 0.9), Learning(0.0, "fp32")
        images = torch.randn(batch, space.in_channels, space.resolution, space.resolution, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.arange(batch, device=self.device) % self.classes

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            step.backward(network, Batch(images, labels, 0))
            optimizer.step()

        return self._usual_s(run)

    def calls_us(self, space: Space, archs: list[Arch]) -> list[float]:
        """Microseconds of networks for one image, measured in turns, as the command `latency` does."""
        programs = Programs(space, self.classes, "torch", self.device, batch=1, threads=1)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            made = {number: programs.of_arch(arch) for number, arch in enumerate(archs)}
            found = timings(list(rounds(made, _TURNS, stopwatch=programs.stopwatch)))
        finally:
            torch.set_num_threads(before)
        return [found[number].us for number in range(len(archs))]

    @cached_property
    def threads(self) -> Callable[[Space, Arch, int], int]:
        """The threads with which a step is fastest: all cores, where they are worth it, else one."""

        def chosen(space: Space, arch: Arch, batch: int) -> int:
            if self.device.type != "cpu" or cores() == 1:
                return 1
            before, seconds = torch.get_num_threads(), []
            for threads in (1, cores()):
                torch.set_num_threads(threads)
                seconds.append(self.step_s(space, arch, batch))
            torch.set_num_threads(before)
            return cores() if seconds[0] > FASTER * seconds[1] else 1

        return chosen

    def _usual_s(self, run: Program) -> float:
        run()  # chooses kernels
        taken: list[float] = []
        while len(taken) < _STEPS and sum(taken) < _LONGEST_S:
            start = time.perf_counter()
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return median(taken)


def decoding_s(images: Images) -> float:
    """Seconds to decode one image; 0 if they are in memory."""
    if not isinstance(images, FileImages):
        return 0.0
    start, places = time.perf_counter(), spread(len(images), _PICTURES)
    for place in places:
        images.image(place)
    return (time.perf_counter() - start) / len(places)


def preparing_s(images: Images, recipe: str, resolution: int, side: int | None) -> float:
    """Seconds to prepare one image for training, once it is decoded and stored with a shorter side."""
    places = spread(len(images), _PICTURES)
    pixels = [images.image(place) for place in places]
    given: Pixels = pixels if isinstance(images, FileImages) else torch.stack(pixels)
    if isinstance(images, FileImages) and side:
        given = [shrunk(each, _shorter(each, side)) for each in pixels]
    start = time.perf_counter()
    train_transform(recipe, resolution)(given, torch.arange(len(places)))
    return (time.perf_counter() - start) / len(places)


def _shorter(image: torch.Tensor, side: int) -> tuple[int, int]:
    height, width = image.shape[-2:]
    return cast(tuple[int, int], tuple(max(1, length * side // min(height, width)) for length in (height, width)))
