"""What the rules choose for images, bounds and times, on a machine whose speed is given."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import load_config
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.fitting import rules
from fewshot_nas.fitting.look import Seen
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.opponents import reference, resnets
from fewshot_nas.fitting.rules import choose, wanted_epochs
from fewshot_nas.fitting.spaces import WIDTHS, own_space, space_of
from fewshot_nas.space.cost import cost_measures, read_bounds
from fewshot_nas.space.presets import SPACES


@dataclass(frozen=True)
class Steady(Machine):
    """A machine that does so many multiply-adds in a second."""

    macs_per_s: float = 1e9

    def _macs(self, space, arch):
        return cost_measures(space, num_classes=self.classes)["macs"].of(space, arch)

    def step_s(self, space, arch, batch):
        return 3 * batch * self._macs(space, arch) / self.macs_per_s

    def supernet_step_s(self, space, batch):
        return 5 * self.step_s(space, reference(space), batch)

    def forward_s(self, space, arch):
        return self._macs(space, arch) / self.macs_per_s

    def calls_us(self, space, archs):
        return [1e6 * self._macs(space, arch) / self.macs_per_s for arch in archs]

    def threads(self, space, arch, batch):
        return 1


MACHINE = Steady(torch.device("cpu"), 10)


def chosen(bounds=(), *, side=72, train=500, grey=False, budget_s=1e6, machine=MACHINE, own=(), recipe="shift"):
    seen = Seen(classes=10, train=train, valid=9, test=9, side=side, channels=3, grey=grey, uneven=1.0)
    images = ArrayImages(torch.zeros(4, 3, side, side, dtype=torch.uint8), torch.arange(4))
    given = own_space(load_config(None, [*own]), own, seen)
    return choose(seen, images, recipe, read_bounds([], list(bounds)), budget_s, machine, given)


def macs(space):
    return MACHINE._macs(space, reference(space))


def test_the_reference_is_the_widest_resnet18_within_the_bound():
    space = chosen(["macs=20M"]).sizes.space
    wider = WIDTHS[WIDTHS.index(space.base_widths[0]) - 1]
    seen = Seen(10, 500, 9, 9, 72, 3, False, 1.0)
    assert macs(space) <= 20e6 < macs(space_of(seen, space.resolution, wider))
    assert macs(space_of(seen, 64, 12)) > 20e6 >= macs(space_of(seen, 48, 12))
    assert space.resolution == 48


def test_narrowed_resnet18s_are_of_nearly_every_cost():
    """From the widest to the narrowest, none dearer than the one before and most within a tenth of it."""
    seen = Seen(10, 500, 9, 9, 32, 3, False, 1.0)
    space = space_of(seen, 32, 20)
    narrowed = list(resnets(space))
    costs = [space.cost(arch, num_classes=10).macs for arch in narrowed]
    assert costs == sorted(costs, reverse=True)
    assert sum(cost < 0.9 * before for before, cost in pairwise(costs)) <= 5 < len(narrowed) / 5
    assert {len(list(space.blocks(arch))) for arch in narrowed} == {1 + 8}


def test_latency_bounds_by_this_machine():
    """8 ms of 1e9 multiply-adds a second are eight millions of them."""
    assert chosen(["latency=8ms"]).sizes.space == chosen(["macs=8M"]).sizes.space


def test_the_shape_of_a_space_follows_from_the_side():
    seen = Seen(10, 500, 9, 9, 300, 3, False, 1.0)
    shapes = {side: (s.stem_stride, s.stem_pool) for side in (28, 48, 160) for s in [space_of(seen, side, 16)]}
    assert shapes == {28: (1, False), 48: (2, False), 160: (2, True)}
    assert [space_of(seen, side, 16, 7).stem_kernel for side in (40, 48)] == [3, 7]
    space = space_of(seen, 48, 16)
    assert [space.width(stage, 2) for stage in range(4)] == [16, 32, 56, 112]
    assert len(list(space.blocks(reference(space)))) == 1 + 8


@pytest.mark.parametrize(("side", "resolution"), [(8, 8), (28, 28), (33, 32), (64, 64), (72, 64), (500, 224)])
def test_the_largest_images_where_nothing_is_scarce(side, resolution):
    assert chosen(side=side).sizes.space.resolution == resolution


def test_less_time_makes_images_smaller_and_networks_narrower():
    costs = [macs(chosen(["macs=400M"], side=96, budget_s=budget).sizes.space) for budget in (1e7, 1e3)]
    assert costs[0] > 10 * costs[1]


@pytest.mark.parametrize(
    ("train", "batch", "lr", "calibration", "epochs", "width"),
    [(90, 32, 0.05, 90, 200, 16), (2_000, 32, 0.05, 256, 100, 16), (20_000, 64, 0.1, 512, 60, 32),
     (200_000, 128, 0.1, 2048, 30, 64)],
)  # fmt: skip
def test_numbers_of_images(train, batch, lr, calibration, epochs, width):
    found = chosen(train=train, side=32, budget_s=1e9)
    assert {section: found.settings[section]["batch_size"] for section in ("training", "stand_alone")} == {
        "training": batch,
        "stand_alone": batch,
    }
    assert found.settings["training"]["lr"] == lr
    assert found.settings["evaluation"]["calibration_images"] == calibration
    assert found.wanted == wanted_epochs(train) == epochs
    assert found.sizes.space.base_widths[0] == width
    assert found.sizes.supernet_s(train) == pytest.approx(5 * found.sizes.steps(train) * found.sizes.step_s, rel=0.5)


def test_augmentation():
    assert [chosen(side=side, grey=grey).why["augmentation"] for side, grey in ((28, True), (32, False))] == [
        "shift",
        "shift_flip",
    ]
    assert chosen(side=64, recipe="photo").why["augmentation"] == "photo"


def test_the_chosen_settings_are_settings():
    """They make the space that was planned with."""
    found = chosen(["macs=8M"], side=300, recipe="photo")
    lines = [f"{section}.{key}={value}" for section, keys in found.settings.items() for key, value in keys.items()]
    config = load_config(None, lines)
    assert config.space.build().slots == found.sizes.space.slots
    assert config.space.build().cost(reference(found.sizes.space)) == found.sizes.space.cost(
        reference(found.sizes.space)
    )
    assert config.data.augmentation == "photo"
    assert config.data.stored_side == round(1.3 * config.space.resolution)


def test_a_bound_out_of_reach_is_refused():
    with pytest.raises(
        InputError, match=r"no network that fit would plan has params <= 1 k: .* the narrowest, .*, has 1\d\d k"
    ):
        chosen(["params=1k"])
    with pytest.raises(InputError, match="narrowest, of 8 channels at 32 px, has 8"):
        chosen(["macs=5M"], side=254, recipe="photo", own=["space.resolution=32"])


def test_a_space_of_ones_own():
    found = chosen(own=["space.preset=cifar"], side=32)
    assert found.sizes.space == SPACES["cifar"]
    assert "space" in found.settings
    assert found.settings["space"] == {}
    assert chosen(own=["space.resolution=40"], side=300).sizes.space.resolution == 40
    with pytest.raises(InputError, match=r"'space\.stem_pool=true': fit chooses the space; give space\.preset with it"):
        chosen(own=["space.stem_pool=true"])
    with pytest.raises(InputError, match="but fit compares with a ResNet"):
        chosen(own=["space.preset=cream"])
    with pytest.raises(InputError, match=r"set space\.in_channels=3"):
        chosen(own=["space.preset=px28"])


def test_what_the_bound_leaves_is_said(monkeypatch):
    """For images of 254 px, 12 M allow 64 px, and a time may not."""
    monkeypatch.setattr(rules, "preparing_s", lambda *_: 0.0)  # it is measured, and this machine may be busy
    wide = chosen(["macs=12M"], side=254, recipe="photo")
    assert wide.why["width"] == (
        "8 channels in the first stage of the reference; it has 8.42 M macs of the 12 M allowed, the largest network"
        " 14.8 M"
    )
    narrow = chosen(["macs=12M"], side=254, recipe="photo", budget_s=1)
    assert narrow.why["width"] == (
        "8 channels in the first stage of the reference; it has 4.73 M macs of the 12 M allowed, the largest network"
        " 8.31 M, so the bound excludes none (one of 8.42 M, at 64 px, would take too long)"
    )
    assert chosen(side=254, recipe="photo").why["width"].count("allowed") == 0


@dataclass(frozen=True)
class Counting(Steady):
    """It notes what it has measured."""

    measured: list = field(default_factory=list)

    def step_s(self, space, arch, batch):
        self.measured.append(space)
        return super().step_s(space, arch, batch)


@dataclass(frozen=True)
class WithBf16(Steady):
    """Its steps are so many times as fast with bf16."""

    gain: float = 1.0

    def step_s(self, space, arch, batch):
        return super().step_s(space, arch, batch) / (self.gain if self.precision == "bf16" else 1)


@pytest.mark.parametrize(
    ("gain", "given", "expected"),
    [(2.0, None, "bf16"), (1.2, None, "fp32"), (0.1, "bf16", "bf16"), (9.0, "fp32", "fp32")],
)
def test_bf16_is_chosen_where_it_is_faster(gain, given, expected):
    """And the plan counts with its steps."""
    found = chosen(machine=WithBf16(torch.device("cpu"), 10, None, given, gain=gain))
    assert found.settings["run"]["precision"] == found.why["precision"] == expected
    at = gain if expected == "bf16" else 1
    space = found.sizes.space
    assert found.sizes.step_s == pytest.approx(MACHINE.step_s(space, reference(space), found.sizes.batch) / at)


def test_spaces_that_are_too_slow_by_their_multiply_adds_are_not_measured():
    """A loose bound on a slow machine ends with the narrowest networks of the smallest images."""
    machine = Counting(torch.device("cpu"), 10)
    space = chosen(["macs=500M"], side=254, budget_s=1e2, machine=machine, recipe="photo").sizes.space
    assert (space.resolution, space.base_widths[0]) == (32, 8)
    assert [each.resolution for each in dict.fromkeys(machine.measured)] == [224, 32]
