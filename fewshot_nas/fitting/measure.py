"""What the plan has to know of this machine: a training step, a call of a network, the preparation of an image."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, cast

import torch
from torch import nn

from fewshot_nas.computing import cores
from fewshot_nas.data.images import FileImages, Images, spread
from fewshot_nas.data.pictures import Pixels, shrunk
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import by_width
from fewshot_nas.timing.measuring import rounds
from fewshot_nas.timing.programs import Program, Programs
from fewshot_nas.training.draws import OutsEnds, RandomArchs, Sampler
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Batch, Learning, Step, plain_groups, sgd

_STEPS, _LONGEST_S = 5, 2.0  # so many, or so long, are enough
_PICTURES = 24  # that are prepared to know how long one takes
_TURNS = 9
_ASKED = 128  # images at a time, as in scores
FASTER = 1.3  # what several threads, or bf16, have to gain
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Machine:
    """Measures on a device.

    Attributes:
        classes: of the networks.
        given: threads that were given, so that none are measured.
        precision: of training steps. None: bf16 on GPUs, else fp32.
    """

    device: torch.device
    classes: int
    given: int | None = None
    precision: Precision | None = None

    def step_s(self, space: Space, arch: Arch, batch: int) -> float:
        """Seconds of a training step of one network, without its images."""
        return self._trained_s(Subnet(space, arch, self.classes), Learning(0.0, self._precision), space, batch)

    def forward_s(self, space: Space, arch: Arch) -> float:
        """Seconds of an image of a network that is only asked, with many at a time."""
        network = Subnet(space, arch, self.classes).to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        images = torch.randn(_ASKED, space.in_channels, space.resolution, space.resolution, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._usual_s(lambda: network(images)) / _ASKED

    def supernet_step_s(self, space: Space, batch: int) -> float:
        """Seconds of a training step of a supernet, with the usual sandwich."""
        options = space.pool_options
        sampler = Sampler(RandomArchs(space, 0, options), OutsEnds(space, 0, options), middle=2)
        step = SupernetStep(sampler, precision=self._precision)
        return self._trained_s(Supernet(by_width(space, 1), self.classes), step, space, batch)

    @property
    def _precision(self) -> Precision:
        return self.precision or ("bf16" if self.device.type == "cuda" else "fp32")

    def _trained_s(self, network: nn.Module, step: Step, space: Space, batch: int) -> float:
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer, numbers = sgd(plain_groups(network, 0.0), 0.9), count()
        images = torch.randn(batch, space.in_channels, space.resolution, space.resolution, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.arange(batch, device=self.device) % self.classes

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            step.backward(network, Batch(images, labels, next(numbers)))
            optimizer.step()

        return self._usual_s(run)

    def calls_us(self, space: Space, archs: list[Arch]) -> list[float]:
        """Microseconds of networks for one image, timed in turns as by `latency`; the fastest turn counts."""
        programs = Programs(space, self.classes, "torch", self.device, batch=1, threads=1)
        with threads_of(1):
            made = {number: programs.of_arch(arch) for number, arch in enumerate(archs)}
            turns = list(rounds(made, _TURNS, stopwatch=programs.stopwatch))
        return [min(turn[number] for turn in turns) for number in made]

    def threads(self, space: Space, arch: Arch, batch: int) -> int:
        """The threads with which a step is fastest: all cores, where they are worth it, else one."""
        if self.given or self.device.type != "cpu" or cores() == 1:
            return self.given or 1
        seconds = {}
        for threads in (1, cores()):
            with threads_of(threads):
                seconds[threads] = self.step_s(space, arch, batch)
        return cores() if seconds[1] > FASTER * seconds[cores()] else 1

    def faster_step(self, space: Space, arch: Arch, batch: int) -> tuple[Precision, float]:
        """The precision to train with, and the seconds of a step: bf16 on GPUs, and where it is enough faster."""
        if self.precision or self.device.type == "cuda":
            return self._precision, self.step_s(space, arch, batch)
        seconds = {each: replace(self, precision=each).step_s(space, arch, batch) for each in ("fp32", "bf16")}
        chosen: Precision = "bf16" if seconds["fp32"] > FASTER * seconds["bf16"] else "fp32"
        return chosen, seconds[chosen]

    def _usual_s(self, run: Program) -> float:
        """The mean, in which pauses that other processes cause count as they will in the training."""
        start = time.perf_counter()
        run()  # chooses kernels
        self._wait()
        if (first := time.perf_counter() - start) > _LONGEST_S:
            return first
        start, steps, taken = time.perf_counter(), 0, 0.0
        while steps < _STEPS or taken < _LONGEST_S / 4:
            run()
            self._wait()
            steps, taken = steps + 1, time.perf_counter() - start
            if taken > _LONGEST_S:
                break
        return taken / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@contextmanager
def threads_of(threads: int) -> Iterator[None]:
    """So many threads of torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def busy(begun_s: float, computed_s: float) -> float:
    """How many times as long as alone this process takes beside others, by its time since two readings of clocks.

    At most four: it also waits for its disk, and a plan by more would throw the budget away.

    Args:
        begun_s: of `time.monotonic`.
        computed_s: of `time.process_time`.
    """
    return min(4.0, max(1.0, (time.monotonic() - begun_s) / max(time.process_time() - computed_s, 1e-3)))


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
