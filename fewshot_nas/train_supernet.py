"""Train the one-shot supernet: at each step the largest subnet, some sampled ones and the smallest."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.results.run import ONE_SHOT, phase_directory
from fewshot_nas.running.options import add_run_options, run_config
from fewshot_nas.space.split import by_width


def main(argv: Sequence[str] | None = None) -> int:
    """Train phase 1 of a run, into results/<save>/."""
    options = _parser().parse_intermixed_args(argv)
    config, directory = run_config(options), phase_directory(options.save, ONE_SHOT)
    from fewshot_nas.distributed import joined
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.running.run import Run, seed_weights, start_facts, started
    from fewshot_nas.running.supernets import SupernetTraining

    with joined(options.device, config.run) as world:
        run = Run.asked(options, config, world)

        def start() -> Supernet:
            if path := config.training.start:
                supernet = started(run, path).supernet
                if supernet.split != by_width(run.space, 1):
                    hint = "train_few_shot --pretrained_path goes on with it, on the same classes"
                    raise InputError(f"{path}: a supernet with {supernet.split.groups} groups, expected 1; {hint}")
                return supernet
            seed_weights(config.run.seed)
            return Supernet(by_width(run.space, 1), run.data.num_classes)

        SupernetTraining(
            run=run, directory=directory, settings=config.training, start=start, facts=start_facts(config.training)
        ).carry_out()
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.train_supernet", description=__doc__)
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
