"""Makes a small data set of coloured shapes, to try docs/own_images.md without images of your own.

python scripts/make_shapes.py data/mine            600 images: 60, 20 and 20 of each of six classes
python scripts/make_shapes.py data/mine --train 8 --held_out 4 --size 72
python scripts/make_shapes.py data/shapes --photos           eight classes of 150 to 500 pixels, told by shape only
"""

import argparse
import random
import sys
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "hexagon", "ring", "square", "triangle")
PHOTOS = (*CLASSES, "crescent", "star")
_CORNERS = {"hexagon": 6, "square": 4, "triangle": 3, "star": 10}
_SIDES = (150, 500)  # the least and the most pixels of a picture


def shape(name: str, size: int, rng: random.Random) -> Image.Image:
    """One image, RGB [size, size]: a shape of random place, size and angle before a noisy ground."""
    hue = (CLASSES.index(name) / len(CLASSES) + rng.gauss(0, 0.1)) % 1  # colours tell classes apart, but not surely
    ground = tuple(rng.randrange(60, 140) for _ in range(3))
    return _drawn(name, (size, size), hue, ground, rng)


def photo(name: str, rng: random.Random) -> Image.Image:
    """One picture, RGB, of 150 to 500 pixels each way: shape, ground and sides depend on nothing but chance."""
    width, height = (rng.randint(*_SIDES) for _ in range(2))
    ground = tuple(rng.randrange(30, 226) for _ in range(3))
    return _drawn(name, (width, height), rng.random(), ground, rng)


def _drawn(name: str, size: tuple[int, int], hue: float, ground: tuple[int, ...], rng: random.Random) -> Image.Image:
    image = Image.new("RGB", size, ground)
    colour = tuple(round(255 * channel) for channel in hsv_to_rgb(hue, rng.uniform(0.6, 1), rng.uniform(0.6, 1)))
    draw, radius = ImageDraw.Draw(image), rng.uniform(0.25, 0.45) * min(size)
    x, y = (rng.uniform(radius, side - radius) for side in size)
    angle = rng.uniform(0, 2 * pi)
    if name in _CORNERS:
        corners = _CORNERS[name]
        far = [radius * (0.45 if name == "star" and corner % 2 else 1) for corner in range(corners)]
        turns = [angle + 2 * pi * corner / corners for corner in range(corners)]
        draw.polygon([(x + r * cos(turn), y + r * sin(turn)) for r, turn in zip(far, turns, strict=True)], fill=colour)
    elif name == "cross":
        for turn in (angle, angle + pi / 2):
            ends = [(x + way * radius * cos(turn), y + way * radius * sin(turn)) for way in (-1, 1)]
            draw.line(ends, fill=colour, width=max(2, round(radius / 2.5)))
    else:
        box = (x - radius, y - radius, x + radius, y + radius)
        width = max(2, round(radius / 4)) if name == "ring" else 0
        draw.ellipse(box, fill=None if width else colour, outline=colour, width=width)
        if name == "crescent":
            x, y = x + 0.45 * radius * cos(angle), y + 0.45 * radius * sin(angle)
            draw.ellipse([x - 0.75 * radius, y - 0.75 * radius, x + 0.75 * radius, y + 0.75 * radius], fill=ground)
    noise = Image.effect_noise(size, 60).convert("RGB")
    return Image.blend(image, noise, rng.uniform(0, 0.3))


def main(argv: Sequence[str] | None = None) -> int:
    """Write `train/<class>/`, `val/<class>/` and `test/<class>/`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--train", type=int, default=60, help="images of each class to train on (default 60)")
    parser.add_argument("--held_out", type=int, default=20, help="images of each class in val and test (default 20)")
    parser.add_argument("--size", type=int, default=72, help="side in pixels (default 72)")
    parser.add_argument("--photos", action="store_true", help="eight classes, told by shape only, 150 to 500 pixels")
    options = parser.parse_args(argv)
    rng = random.Random(0)
    for part, count in (("train", options.train), ("val", options.held_out), ("test", options.held_out)):
        for name in PHOTOS if options.photos else CLASSES:
            directory = options.root / part / name
            directory.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                if options.photos:
                    photo(name, rng).save(directory / f"{number}.jpg", quality=90)
                else:
                    shape(name, options.size, rng).save(directory / f"{number}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
