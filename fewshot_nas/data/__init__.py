"""Where images come from, and how they become batches."""

from typing import Literal, get_args

# The names of the augmentations stand here, because settings need them and must not wait for anything heavy.
Recipe = Literal["photo", "shift", "shift_flip", "flip", "none"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
