"""Train the one-shot supernet: at each step the largest subnet, some sampled ones and the smallest."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.options import add_run_options, run_config, run_words
from fewshot_nas.results.run import ONE_SHOT, phase_directory
from fewshot_nas.space.split import by_width


def main(argv: Sequence[str] | None = None) -> int:
    """Train phase 1 of a run, into results/<save>/."""
    options = _parser().parse_intermixed_args(argv)
    config, directory = run_config(options), phase_directory(options.save, ONE_SHOT)
    words = run_words(options)
    from fewshot_nas.distributed import joined
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.running.run import seed_weights
    from fewshot_nas.running.supernets import SupernetRun

    with joined(options.device, config.run) as world:
        training = SupernetRun(
            options.save, config, world, options.resume, speaker(world.is_rank0), words, options.plan
        )

        def start() -> Supernet:
            seed_weights(config.run.seed)
            return Supernet(by_width(training.space, 1), training.data.num_classes)

        training.train_phase("training", directory, start, {})
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.train_supernet", description=__doc__)
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
