"""How much the channels of a supernet weigh, from the first quarter of them to the last.

    python -m studies.cifar10_truths.channels SUPERNET

A line for each operation: the mean absolute weights of its norm, and the mean norms of its kernels, in each quarter.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.supernet import BlockLayers, Supernet

PARTS = 4


def lines(supernet: Supernet) -> Iterator[str]:
    """The table in Markdown."""
    yield "| block | operation | norm weights by quarter | kernels by quarter |"
    yield "|---|---|---|---|"
    for name, block in supernet.blocks.items():
        assert isinstance(block, BlockLayers)
        for number, layer in enumerate(block.layers(block.main)):
            each = (layer.norm.weight.abs(), layer.conv.weight.flatten(1).norm(dim=1))
            yield f"| {name} | {number} | {' | '.join(map(_by_quarter, each))} |"


def _by_quarter(values: Tensor) -> str:
    return ", ".join(f"{float(part.mean().detach()):.2f}" for part in values.chunk(PARTS))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("supernet", type=Path, help="its file")
    print("\n".join(lines(load_supernet(parser.parse_args(argv).supernet))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
