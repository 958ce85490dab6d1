"""How long the 45,000 codes of a pool take in one process: decoding, encoding, costs.

python benchmarks/space.py [DIRECTORY]      default json_file/json8
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fewshot_nas.space.pool import read_pool
from fewshot_nas.space.presets import SPACES

T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> T:
    """Print what the work took and give its result."""
    start = time.perf_counter()
    result = work()
    print(f"{name:55}{time.perf_counter() - start:6.2f} s")
    return result


def main() -> None:
    """Measure the pool of the first argument."""
    space = SPACES["track1"]
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "json_file/json8")
    texts = [path.read_text() for path in sorted(directory.glob("part*.json"))]
    codes = [entry["arch"] for text in texts for entry in json.loads(text).values()]
    print(f"{len(codes)} codes of {directory}")

    archs = timed("decode and validate", lambda: [space.decode(code) for code in codes])
    again = timed("encode", lambda: [space.encode(arch) for arch in archs])
    assert again == codes
    timed("MACs and params", lambda: [space.cost(arch) for arch in archs])
    timed("read and check the files whole, repetitions included", lambda: read_pool(directory, space))


if __name__ == "__main__":
    main()
