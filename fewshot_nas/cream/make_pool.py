"""Draw distinct random paths within the FLOPs bounds of a search, as a pool for `truth` and `test`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import UNIFORM
from fewshot_nas.cream.model import FORM
from fewshot_nas.running.options import add_config_options, first_line
from fewshot_nas.space.pool import Entry, check_draw, make_pool, write_arch_file


def main(argv: Sequence[str] | None = None) -> int:
    """Write a pool; the same settings, seed and size give the same file."""
    options = _parser().parse_intermixed_args(argv)
    check_draw(options.size, options.seed)
    budget = load(SearchConfig, options.config, options.overrides, (Config,)).budget()
    print(first_line(f"pool {options.out}", space="of Cream"))
    # Each path within the bounds is as likely as any other.
    pool = make_pool(budget.space, options.seed, options.size, lambda rng: budget.sample(rng, UNIFORM))
    write_arch_file(options.out, budget.space, {arch_id: Entry(0.0, arch) for arch_id, arch in pool.items()})
    costs = sorted(map(budget.mflops, pool.values()))
    print(
        f"{len(pool)} paths of depths {budget.space.lengths}, {costs[0]:.3f} to {costs[-1]:.3f} M FLOPs: {options.out}"
    )
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.make_pool", description=__doc__)
    parser.add_argument("--size", type=int, default=60, help="paths (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the pool")
    add_config_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
