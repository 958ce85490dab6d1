"""The functions that a notebook needs; `import fewshot_nas` provides them.

A space may be given by its name, a subnet by its code, and a file as a string. Functions that need
torch import it when they are called.
"""

import random
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.presets import preset
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.space import random_arch as draw

if TYPE_CHECKING:
    from fewshot_nas.data.sources import ImageData
    from fewshot_nas.evaluation.inputs import Accuracy
    from fewshot_nas.models.subnet import Subnet
    from fewshot_nas.models.supernet import Supernet

_DRAWS = 10_000
_Part = Literal["valid", "test"]


def random_arch(
    space: Space | str,
    seed: int = 0,
    *,
    min_macs: int = 0,
    max_macs: int | None = None,
    max_params: int | None = None,
) -> Arch:
    """Draw an arch with the digits of the space's pool, within bounds for images of the space's size.

    The same seed gives the same arch everywhere.

    Args:
        min_macs: least multiply-adds for one image.
        max_macs: most of them; no bound if None.
        max_params: most parameters.

    Raises:
        InputError: no such space, or none of 10,000 draws lies within the bounds.

    Examples:
        >>> arch = random_arch("px8", seed=1, max_macs=8_000_000)
        >>> macs("px8", arch) <= 8_000_000
        True
    """
    space, rng = _space(space), random.Random(seed)
    for _ in range(_DRAWS):
        arch = draw(space, rng, space.pool_options)
        cost = space.cost(arch)
        fits_macs = min_macs <= cost.macs and (max_macs is None or cost.macs <= max_macs)
        if fits_macs and (max_params is None or cost.params <= max_params):
            return arch
    raise InputError(f"none of {_DRAWS:,} random archs of {space.name} lies within the bounds; widen them")


def macs(space: Space | str, arch: Arch | str, num_classes: int = 1000) -> int:
    """Multiply-adds of a subnet for one image of the space's size.

    Raises:
        InputError: no such space, or the code is malformed.

    Examples:
        >>> macs("track1", "1554322222322212322212323254542444000000004353730000")
        3279490688
    """
    space = _space(space)
    return space.cost(_arch(space, arch), num_classes=num_classes).macs


def params(space: Space | str, arch: Arch | str, num_classes: int = 1000) -> int:
    """Parameters of a subnet.

    Raises:
        InputError: no such space, or the code is malformed.

    Examples:
        >>> params("px8", random_arch("px8", max_params=100_000), num_classes=10) < 100_000
        True
    """
    space = _space(space)
    return space.cost(_arch(space, arch), num_classes=num_classes).params


def load_supernet(path: Path | str, device: str = "cpu") -> "Supernet":
    """Read a supernet from a file of ours or of the public solution.

    Raises:
        InputError: the file is missing, damaged, or holds no supernet.

    Examples:
        >>> supernet = load_supernet("results/digits/supernet.pth")
        >>> supernet.num_classes
        10
    """
    from fewshot_nas.models import checkpoint

    return checkpoint.load_supernet(Path(path), device)


def extract(supernet: "Supernet | Path | str", arch: Arch | str) -> "Subnet":
    """Copy one subnet out of a supernet, as a plain torch module.

    It is in training mode. Its batch norms have no statistics yet: calibrate them before `eval()`.

    Examples:
        >>> subnet = extract("results/digits/supernet.pth", random_arch("px8"))
        >>> sum(parameter.numel() for parameter in subnet.parameters()) == params("px8", random_arch("px8"), 10)
        True
    """
    from fewshot_nas.models import subnet

    network = _supernet(supernet)
    return subnet.extract(network, _arch(network.space, arch))


def open_data(name: str, root: Path | str = "data", *, num_classes: int | None = None) -> "ImageData":
    """Open a data set by the name that the setting `data.name` has, such as `digits`.

    Raises:
        InputError: there is no such data set, or `root` does not hold such images.

    Examples:
        >>> data = open_data("digits")
        >>> len(data.train), len(data.valid), len(data.test)
        (1197, 300, 300)
    """
    from fewshot_nas.data import sources

    return sources.open_data(name, Path(root), num_classes=num_classes)


def score(
    supernet: "Supernet | Path | str",
    archs: Sequence[Arch | str],
    config: Path | str | None = None,
    *,
    images: _Part = "valid",
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> "list[Accuracy]":
    """Accuracy of subnets with a supernet's weights, as `python -m fewshot_nas.test` measures it.

    Args:
        supernet: or its file.
        config: settings in YAML; by default those of the run that the supernet was read from, else the package's.
        images: those that supernets are ranked on, or the test images.
        overrides: settings such as `"data.name=fashion_mnist"`.
        device: as torch names it; by default a GPU if there is one, else the CPU.

    Raises:
        InputError: `archs` is not a list, there are no such images, or supernet, images and settings do not
            fit together.

    Examples:
        >>> (accuracy,) = score("results/digits/supernet.pth", [random_arch("px8")])
        >>> 0 <= accuracy.top1 <= accuracy.top5 <= 100
        True
    """
    from fewshot_nas.config import load_config
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.images import images_for
    from fewshot_nas.scoring.scorer import scorer_for

    if isinstance(archs, str) or (archs and isinstance(archs[0], int)):
        raise InputError(f"archs is the single arch {archs!r}, expected a list such as [arch]")
    if images not in get_args(_Part):
        raise InputError(f"images is {images!r}, expected one of {', '.join(get_args(_Part))}")
    settings = load_config(Path(config) if config else _config_beside(supernet), overrides)
    with joined(device, settings.run) as world:
        network = _supernet(supernet)
        if next(network.parameters()).device != world.device:
            network = (deepcopy(network) if network is supernet else network).to(world.device)  # the caller's own stays
        name = str(network.source or "the supernet")
        data = images_for(settings, name, network.space, network.num_classes, network.trained_on)
        scorer = scorer_for(settings, name, network, data, data.valid if images == "valid" else data.test, world)
        return scorer.scores([_arch(network.space, arch) for arch in archs])


def _space(space: Space | str) -> Space:
    return space if isinstance(space, Space) else preset(space)


def _arch(space: Space, arch: Arch | str) -> Arch:
    return space.decode(arch) if isinstance(arch, str) else arch


def _supernet(supernet: "Supernet | Path | str") -> "Supernet":
    return load_supernet(supernet) if isinstance(supernet, str | Path) else supernet


def _config_beside(supernet: "Supernet | Path | str") -> Path | None:
    """The settings of the run that a supernet's file lies in."""
    from fewshot_nas.results.directories import PhaseDirectory

    source = Path(supernet) if isinstance(supernet, str | Path) else supernet.source
    path = PhaseDirectory(source.parent).config if source else None
    return path if path and path.exists() else None
