"""Augmentation of timm's parts: a function of image and key, in bytes of the right shape."""

import random

import numpy as np
import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.transforms import Augmentation, Small, rand_augment

GREY = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
KEYS = torch.arange(1, 6) * 12345
STRONG = {"policy": "rand-m9-mstd0.5", "jitter": 0.4, "erasing": 1.0}
NONE = {"policy": "", "jitter": 0.0, "erasing": 0.0}


def small(**parts):
    return Augmentation("shift", 16, **{**NONE, **parts}, mean=(0.3,), std=(0.2,))


def photo(**parts):
    return Augmentation("photo", 16, **{**NONE, **parts}, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))


def test_small_images_without_more_are_only_shifted():
    assert torch.equal(small()(GREY, KEYS), Small(16, shift=True, flip=False)(GREY, KEYS))


@pytest.mark.parametrize("part", STRONG.items(), ids=lambda part: part[0])
def test_each_part_changes_images(part):
    assert not torch.equal(small(**dict([part]))(GREY, KEYS), small()(GREY, KEYS))


@pytest.mark.parametrize("make", [small, photo])
def test_an_image_depends_on_its_own_key_alone(make):
    images = GREY if make is small else [image.repeat(3, 3, 2) for image in GREY]
    together = make(**STRONG)(images, KEYS)
    assert (together.dtype, together.shape[2:]) == (torch.uint8, (16, 16))
    for place in range(5):
        alone = make(**STRONG)(images[place : place + 1], KEYS[place : place + 1])
        assert torch.equal(alone[0], together[place])


def test_it_draws_from_no_generator_that_others_use():
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    photo(**STRONG)([image.repeat(3, 3, 2) for image in GREY], KEYS)
    assert states() == before


def test_photos_are_cut_out_in_colour():
    assert photo()([image.repeat(3, 4, 2) for image in GREY], KEYS).shape == (5, 3, 16, 16)


def test_what_is_erased_becomes_noise_about_the_mean():
    """A rectangle changes, all else stays."""
    flat = torch.full((1, 1, 64, 64), 77, dtype=torch.uint8)
    transform = Augmentation("shift", 64, **{**NONE, "erasing": 1.0}, mean=(0.5,), std=(0.1,))
    centre = transform(flat, torch.tensor([3]))[0, 0, 9:55, 9:55]  # away from the shift's black margin
    changed = centre[centre != 77].float()
    assert 50 < len(changed) < centre.numel()
    assert changed.mean().item() == pytest.approx(127.5, abs=5)


@pytest.mark.parametrize("policy", ["best", "rand-q3", "augmix-m3"])
def test_a_policy_that_timm_does_not_know_is_refused(policy):
    with pytest.raises(InputError, match=f"AUTO_AUGMENT is '{policy}', expected one such as rand-m9-mstd0.5"):
        rand_augment(policy, (0.5,))
