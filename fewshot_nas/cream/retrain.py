"""Train a published model, or a path that was found, from scratch."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import RetrainConfig
from fewshot_nas.cream.model import FORM, add_path_option, path_overrides
from fewshot_nas.results.run import retrain_directory
from fewshot_nas.running.options import add_run_options, run_overrides


def main(argv: Sequence[str] | None = None) -> int:
    """Train one network, into results/<save>/retrain_<name>/."""
    options = _parser().parse_intermixed_args(argv)
    config = load(RetrainConfig, options.config, path_overrides(options.from_search, run_overrides(options)), (Config,))
    model = config.model()
    from fewshot_nas.cream.retraining import Retraining, RetrainRun
    from fewshot_nas.distributed import joined

    with joined(options.device, config.run) as world:
        here = RetrainRun.asked(options, config, world)
        assert here.images  # says which images there are
        if not options.from_search and (unlike := config.unlike_public()):
            here.report(unlike)
        for line in here.surprises():
            here.report(line)
        directory = retrain_directory(options.save, config.name)
        Retraining(run=here, directory=directory, model=model).carry_out()
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.retrain", description=__doc__)
    add_path_option(parser)
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
