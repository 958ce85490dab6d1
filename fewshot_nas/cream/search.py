"""Search for a path within FLOPs bounds: good paths found so far teach the path that is trained."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.model import FORM
from fewshot_nas.results.run import search_directory
from fewshot_nas.running.options import add_run_options, run_overrides


def main(argv: Sequence[str] | None = None) -> int:
    """Search, into results/<save>/search/."""
    options = _parser().parse_intermixed_args(argv)
    config = load(SearchConfig, options.config, run_overrides(options), (Config,))
    counted = config.budget().space
    from fewshot_nas.cream.searching import Search, SearchRun
    from fewshot_nas.distributed import joined

    with joined(options.device, config.run) as world:
        here = SearchRun.asked(options, config, world)
        assert here.images  # says which images there are
        said = f"depths {counted.lengths}, FLOPs counted at {counted.resolution} px"
        here.report(f"{said}, images of {config.resolution} px")
        Search(run=here, directory=search_directory(options.save)).carry_out()
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.search", description=__doc__)
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
