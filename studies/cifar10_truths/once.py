"""Networks of quarter widths, trained alone for one epoch, at the cost of a supernet; plan.md says why.

    python -m studies.cifar10_truths.once --root DIR TABLE...

Scored on all images to rank on, as the judged supernets are, into `scores/TABLE_all_once_0.jsonl`. A file that is
there goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Sequence

from fewshot_nas import train_stand_alone
from fewshot_nas.config import load_config
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import measure
from fewshot_nas.models.checkpoint import read_checkpoint, subnet_of
from fewshot_nas.results.run import stand_alone_directory
from fewshot_nas.running.images import evaluation_inputs, open_images
from fewshot_nas.space.pool import id_beside
from studies.cifar10_truths.run import ALL_IMAGES, CONFIG, ONCE_ARM, SCORES, at_hand, read_scores, sample, score_line

NETWORKS = 32
ONE_EPOCH = ("stand_alone.epochs=1", "stand_alone.warmup_epochs=0")


def write(table: str, common: Sequence[str]) -> None:
    """Train and score the networks of a table that have no score yet."""
    settings = [f"space.preset={table}_quarter", *common, f"data.valid_images={ALL_IMAGES}", *ONE_EPOCH]
    config = load_config(CONFIG, settings)
    path, save = SCORES / f"{table}_{ONCE_ARM}.jsonl", f"truths_{table}_once"
    done = {key for key, _ in read_scores(path)}
    for key in sample(at_hand(table), NETWORKS):
        if key in done:
            continue
        asked = [f"--target_arch_num={key}", "--no_test", f"--save={save}", f"--config={CONFIG}", *settings]
        if status := train_stand_alone.main(asked):
            raise SystemExit(f"{table} {key}: ended with {status}")
        trained = stand_alone_directory(save, id_beside(key), config.run.seed).chosen
        network, space, _ = subnet_of(trained, read_checkpoint(trained))
        data = open_images(config, space)
        found = measure(network.eval(), evaluation_inputs(config, space, data, data.valid, World.alone()))
        with path.open("a") as file:
            file.write(score_line(key, found))


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score the networks of some tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory of CIFAR-10")
    parser.add_argument("--precision", default="bf16", help="fp32 where the processor has no bf16 (default: bf16)")
    parser.add_argument("tables", nargs="+", metavar="TABLE")
    options = parser.parse_args(argv)
    for table in options.tables:
        write(
            table,
            [f"data.root={options.root}", f"data.cache={options.root}/cache", f"run.precision={options.precision}"],
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
