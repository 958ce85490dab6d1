"""Transforms are functions of image and key; normalisation is a plain affine map."""

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data import RECIPES
from fewshot_nas.data.images import random_keys
from fewshot_nas.data.transforms import eval_transform, normalize, seeded, train_transform

KEYS = random_keys("test", torch.arange(400))


def done(transform, pixels, keys):
    """Both steps of a transform."""
    return transform.finish(transform(pixels, keys), keys)


@pytest.fixture
def batch(random_image):
    return random_image(0, 400, 1, 8, 8)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("make", [train_transform, eval_transform])
def test_every_recipe_makes_one_size_of_files_and_arrays(files, batch, recipe, make):
    transform = make(recipe, 16)
    from_files = transform(files.pixels(torch.arange(7)), KEYS[:7])
    from_array = transform(batch[:5], KEYS[:5])
    assert (from_files.shape, from_files.dtype) == ((7, 3, 16, 16), torch.uint8)
    assert (from_array.shape, from_array.dtype) == ((5, 1, 16, 16), torch.uint8)


@pytest.mark.parametrize("recipe", RECIPES)
def test_neighbours_in_the_batch_do_not_matter(files, recipe):
    transform = train_transform(recipe, 16)
    together = done(transform, files.pixels(torch.arange(7)), KEYS[:7])
    alone = done(transform, [files.image(3)], KEYS[3:4])
    assert torch.equal(together[3:4], alone)


@pytest.mark.parametrize(
    ("recipe", "fewest", "most"),
    [("photo", 6, 20), ("shift", 6, 20), ("shift_flip", 6, 20), ("flip", 2, 2), ("none", 1, 1)],
)
def test_another_key_is_another_image(files, recipe, fewest, most):
    copies = done(train_transform(recipe, 16), [files.image(0)] * 20, KEYS[:20])
    assert fewest <= len({bytes(copy.flatten().tolist()) for copy in copies}) <= most


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_global_generator_stays_as_it_was(files, recipe):
    before = torch.get_rng_state()
    done(train_transform(recipe, 16), files.pixels(torch.arange(7)), KEYS[:7])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_survives_a_failing_transform():
    before = torch.get_rng_state()
    with pytest.raises(TypeError):
        seeded(lambda image: image + torch.rand(1).item() + None, torch.zeros(3), 5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("side", "padding"), [(8, 1), (28, 4)])
def test_shift_crops_one_window_of_the_padded_image(random_image, side, padding):
    images = random_image(1, 30, 2, side, side)
    padded = F.pad(images, [padding] * 4)
    offsets = range(2 * padding + 1)
    for image, shifted in zip(padded, train_transform("shift", side)(images, KEYS[:30]), strict=True):
        windows = [image[:, top : top + side, left : left + side] for top in offsets for left in offsets]
        assert sum(torch.equal(window, shifted) for window in windows) == 1


def test_all_shifts_and_both_mirror_images_occur(random_image):
    shifted = train_transform("shift_flip", 8)(random_image(2, 1, 1, 8, 8).repeat(400, 1, 1, 1), KEYS)
    assert len({bytes(image.flatten().tolist()) for image in shifted}) == 9 * 2


@pytest.mark.parametrize(("without", "recipe"), [("shift", "shift_flip"), ("none", "flip")])
def test_flip_only_where_asked_for(batch, without, recipe):
    plain, flipped = (train_transform(each, 8)(batch, KEYS) for each in (without, recipe))
    same = (plain == flipped).flatten(1).all(1)
    mirrored = (plain == flipped.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 120 < same.sum() < 280


def test_photo_varies_brightness_and_geometry(files):
    flat = torch.full((3, 40, 40), 100, dtype=torch.uint8)
    brightest = done(train_transform("photo", 16), [flat] * 100, KEYS[:100]).flatten(1).amax(1)
    assert brightest.min() < 70
    assert brightest.max() > 130
    crops = done(train_transform("photo", 16), [flat] * 100, KEYS[:100]).flatten(1).amin(1)
    assert 0 < (crops < 20).float().mean() < 1  # the black corners of a rotation, cropped away in some


@pytest.mark.parametrize("recipe", ["shift", "shift_flip", "flip", "none"])
def test_small_images_are_evaluated_as_they_are(batch, recipe):
    assert torch.equal(eval_transform(recipe, 8)(batch), batch)


def test_nothing_is_augmented_where_nothing_was_asked_for(batch):
    assert torch.equal(train_transform("none", 8)(batch, KEYS), batch)


def test_photos_are_evaluated_without_their_margin():
    image = torch.zeros(3, 256, 300, dtype=torch.uint8)
    image[:, 16:240, 38:262] = 200
    assert torch.equal(eval_transform("photo", 224)([image]), torch.full((1, 3, 224, 224), 200, dtype=torch.uint8))


@pytest.mark.parametrize("make", [train_transform, eval_transform])
def test_an_unknown_recipe_is_refused(make):
    with pytest.raises(InputError, match="recipe is 'foto', expected one of photo, shift, shift_flip, flip, none"):
        make("foto", 8)


def test_normalize_is_affine_and_channels_last(random_image):
    batch = random_image(3, 4, 3, 6, 5)
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    normalized = normalize(batch, mean, std)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    assert normalized.dtype == torch.float32
    for channel in range(3):
        expected = (batch[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(normalized[:, channel].double(), expected, rtol=1e-5, atol=1e-5)


def test_normalize_leaves_its_input(random_image):
    batch = random_image(3, 4, 1, 6, 5)
    before = batch.clone()
    normalize(batch, (0.3,), (0.4,))
    assert torch.equal(batch, before)
