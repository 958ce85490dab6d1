"""The names of the augmentations. Settings need them, so this module imports nothing heavy."""

from typing import Literal, get_args

Recipe = Literal["photo", "shift", "shift_flip", "flip", "none"]

RECIPES: tuple[Recipe, ...] = get_args(Recipe)
