"""The names of augmentations; cheap to import."""

from typing import Literal, get_args

Recipe = Literal["photo", "shift", "shift_flip", "flip", "none"]

RECIPES: tuple[Recipe, ...] = get_args(Recipe)
