"""Write a pool of distinct archs in parts, the same for the same seed, or check one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.records.files import here_or_shipped
from fewshot_nas.running.options import add_config_options, config_of, first_line
from fewshot_nas.space.pool import (
    PARTS,
    POOL_SIZE,
    Entry,
    check_draw,
    make_pool,
    part_path,
    read_pool,
    split_pool,
    write_arch_file,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Check a pool, or make one and write `part1.json`, `part2.json`, ... under the output directory."""
    options = _parser().parse_intermixed_args(argv)
    space = config_of(options).space.build()
    print(first_line(f"pool {options.check or options.out}", space=space.name))
    if options.check:
        parts = read_pool(here_or_shipped(options.check), space)
        print(f"{options.check}: {sum(map(len, parts))} distinct archs in {len(parts)} parts, all valid")
        return 0
    options.size = min(POOL_SIZE, space.count(space.pool_options)) if options.size is None else options.size
    options.parts = min(PARTS, options.size) if options.parts is None else options.parts
    _check(options)
    parts = split_pool(make_pool(space, options.seed, options.size), options.parts)
    for number, part in enumerate(parts, start=1):
        entries = {arch_id: Entry(0.0, arch) for arch_id, arch in part.items()}
        write_arch_file(part_path(options.out, number), space, entries)
    print(f"{options.size} archs in {options.parts} parts under {options.out}")
    return 0


def _check(options: argparse.Namespace) -> None:
    check_draw(options.size, options.seed)
    if not 1 <= options.parts <= options.size:
        raise InputError(f"--parts is {options.parts}, expected 1 to the pool's size, {options.size}")
    stale = part_path(options.out, options.parts + 1)
    if stale.exists():
        raise InputError(f"{stale}: left from a pool of more parts; remove it or choose another --out")


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.make_pool", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (default 0)")
    parser.add_argument("--size", type=int, help=f"number of archs (default {POOL_SIZE}, or all of a smaller space)")
    parser.add_argument("--parts", type=int, help=f"number of files (default {PARTS}, or one for each of fewer archs)")
    parser.add_argument("--out", type=Path, default=Path("json_file/json8"), help="directory (default json_file/json8)")
    parser.add_argument("--check", type=Path, metavar="DIR", help="only read and validate the pool in DIR")
    add_config_options(parser, "space.preset=NAME")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
