"""Train and score the supernets of the study; plan.md says which and why.

    python -m studies.cifar10_truths.run --root DIR ARM...

An arm is TABLE/NAME/SEED, such as channel_resnet/default/0. `--sampled` scores the sample
only, so that arms can be compared before every key is scored. Each command of an arm continues where it was stopped,
and what is there already stays. Scores are appended to `scores/<arm>.jsonl` beside this file.
"""

import argparse
import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from fewshot_nas import score, train_few_shot, train_supernet
from fewshot_nas.evaluation.inputs import Accuracy
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import all_archs
from fewshot_nas.space.presets import preset
from fewshot_nas.space.space import Space
from studies.cifar10_truths.even import evenly

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config.yml"
RESULTS = Path("results")
HALF = HERE / "half"
SCORES = HERE / "scores"  # committed, so that rules can be chosen anew
SAMPLE, SLICE, IMAGES = 2048, 256, 1000
FEW, ALL_IMAGES = 512, 10_000  # of arms that are scored on all images to rank on
ONCE_ARM = "all_once_0"  # networks that are trained alone for one epoch
BATCH_64 = ["training.batch_size=64"]
NO_ENDS = ["training.extremes=none"]
ONE_SHOT = {
    "default": [],
    "again": [],  # `default` on another make of processor, which computes other bits
    "sandwich": [],
    "open": ["training.residual_start=1"],  # in the package up to commit 7960249
    "long": ["training.epochs=16"],
    "distill": ["training.distill=sandwich"],
    "repeated": ["training.epochs=16"],
    "projected": ["space.projects=true"],
    "repeated_projected": ["training.epochs=16", "space.projects=true"],
    "two_sided": ["training.two_sided=true"],
    "even": [],
    "widest": [*NO_ENDS, "training.random_subnets=4", "training.sampling=studies.cifar10_truths.draws:WidestFirst"],
    "plain": ["training.epochs=16", "data.augmentation=none"],
    "repeated_64": ["training.epochs=16", *BATCH_64],
    "default_64": BATCH_64,
    "single": [*NO_ENDS, "training.random_subnets=1", "training.epochs=16"],
    "paths": [*NO_ENDS, "training.random_subnets=1", "training.epochs=32"],
    "fair": [*NO_ENDS, "training.random_subnets=3", "training.epochs=11", "training.sampling=fair"],
    "fair_widths": [*NO_ENDS, "training.random_subnets=4", "training.sampling=fair"],
    "half": ["space.base_widths=[128,256]"],
}
FEWER = "data.train_images=20000"  # of `plain`, and of arms whose name begins with `repeated`
OWN = "own_"  # before an arm's name: its supernet, with a classifier of each network's own
FIRST = "first_"  # before the name of an arm of two sides: the scores of the first side alone
EPOCH = re.compile(r"epoch_(\d)_")  # before an arm's name: its supernet after this epoch, one of the last three
ALL = "all_"  # before an arm's name: its supernet, whose networks are scored on all images to rank on
FULL = 40_000  # images of an epoch
EPOCHS_ON = 6  # of all phases together
SLOT = "1 block 1"


def digest(key: str) -> str:
    """By what the keys of a sample are chosen."""
    return hashlib.sha256(key.encode()).hexdigest()


def sample(keys: Sequence[str], count: int) -> list[str]:
    """The first keys by their digest, sorted, so that neighbours share computations."""
    return sorted(sorted(keys, key=digest)[:count])


def space_of(table: str) -> Space:
    """The space of quarter widths whose supernets rank a table."""
    return preset(f"{table}_quarter")


def main(argv: Sequence[str] | None = None) -> int:
    """Run arms one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory of CIFAR-10")
    parser.add_argument("--precision", default="bf16", help="fp32 where the processor has no bf16 (default: bf16)")
    parser.add_argument("--sampled", action="store_true", help="score a sample of the half's keys only")
    parser.add_argument("arms", nargs="+", metavar="TABLE/ARM/SEED")
    options = parser.parse_args(argv)
    common = [f"data.root={options.root}", f"data.cache={options.root}/cache", f"run.precision={options.precision}"]
    for arm in options.arms:
        table, name, seed = arm.split("/")
        print(f"=== {arm}", flush=True)
        path = trained(table, trained_as(name), int(seed), common)
        if found := EPOCH.search(name):
            path = path.with_name(f"epoch_{found[1]}.pth")
        score_keys(arm, path, keys_to_score(arm, options.sampled), common)
    return 0


def trained_as(name: str) -> str:
    """The arm whose supernet an arm scores in its own way."""
    return EPOCH.sub("", name.removeprefix(OWN).removeprefix(ALL).removeprefix(FIRST))


def trained(table: str, name: str, seed: int, common: Sequence[str]) -> Path:
    """The supernet of an arm, trained if it is not there yet."""
    kind, _, base = name.partition("-")  # such as on_002-single: training on after `single`
    if kind in ONE_SHOT:
        save = f"truths_{table}_{kind}_{seed}"
        with evenly() if kind == "even" else nullcontext():
            _train(train_supernet.main, save, table, seed, common, *ONE_SHOT[kind])
        return RESULTS / save / "supernet.pth"
    parent = trained(table, base or "default", seed, common)
    how, rate = kind.split("_")
    save = f"truths_{table}_{name}_{seed}"
    rate_words = (f"few_shot.lr=0.{rate}", *_as_before(base or "default"))
    if how == "split":
        for groups in (2, 3, 4):
            begin = [f"--pretrained_path={parent}"] if groups == 2 else []
            _train(train_few_shot.main, save, table, seed, common, f"--group_nums={groups}", *begin, *rate_words)
        return RESULTS / save / "4_from_3" / "supernet.pth"
    whole = f"few_shot.epochs={EPOCHS_ON}"
    split = ["--split_by=choice", f"--slots={SLOT}"] if how == "choice" else ["--split_by=none"]
    _train(train_few_shot.main, save, table, seed, common, *split, f"--pretrained_path={parent}", *rate_words, whole)
    (directory,) = [path.parent for path in (RESULTS / save).glob("*/supernet.pth")]
    return directory / "supernet.pth"


def _as_before(base: str) -> list[str]:
    """What draws the subnets of the one-shot supernet `base`, for the phases that go on from it."""
    who = ("training.extremes=", "training.random_subnets=", "training.sampling=")
    return [word.replace("training.", "few_shot.") for word in ONE_SHOT[base] if word.startswith(who)]


def _train(command, save: str, table: str, seed: int, common: Sequence[str], *words: str) -> None:  # type: ignore[no-untyped-def]
    settings = [f"space.preset={table}_quarter", *common, *_fewer(save), f"run.seed={seed}"]
    status = command([f"--config={CONFIG}", f"--save={save}", *words, *settings])
    if status:
        raise SystemExit(f"{save}: {words} ended with {status}")


def images_of(name: str) -> int:
    """The images that an arm's training saw, each with all subnets of its step; those of its parent included."""
    kind, _, base = trained_as(name).partition("-")
    if kind not in ONE_SHOT:
        return images_of(base or "default") + EPOCHS_ON * FULL
    last = EPOCH.search(name)
    epochs = int(last[1]) + 1 if last else int(settings_of(name).get("training.epochs", "8"))
    return epochs * (FULL // 2 if _fewer(name) else FULL)


def settings_of(name: str) -> dict[str, str]:
    """What the one-shot supernet of an arm changes of `config.yml`, or the one that it goes on from."""
    kind, _, base = trained_as(name).partition("-")
    words = ONE_SHOT[kind if kind in ONE_SHOT else base or "default"]
    return dict(word.split("=") for word in words)


def _fewer(arm: str) -> list[str]:
    return [FEWER] if "repeated" in arm or "plain" in arm else []


def at_hand(table: str) -> list[str]:
    """The keys of the half of a table that was known when the study was made."""
    with (HALF / f"{table}.csv").open(newline="") as file:
        return [row["key"] for row in csv.DictReader(file)]


def keys_to_score(arm: str, sampled: bool) -> list[str]:
    """All keys of a table, or the sample that arms of the ResNets are compared by."""
    table, name, seed = arm.split("/")
    if name.startswith(ALL):
        return sample(at_hand(table), FEW)
    if not sampled and (table != "channel_resnet" or (name, seed) == ("default", "0")):
        space = space_of(table)
        return [space.encode(arch) for arch in all_archs(space)]
    return sample(at_hand(table), SAMPLE)


def score_keys(arm: str, supernet: Path, keys: Sequence[str], common: Sequence[str]) -> None:
    """Append the scores of the keys that have none yet, [top1, prob, likelihood] each."""
    path = SCORES / f"{arm.replace('/', '_')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {key for key, _ in read_scores(path)}
    missing = [key for key in keys if key not in done]
    space = space_of(arm.split("/")[0])
    if f"/{OWN}" in arm:
        raise SystemExit(f"{arm}: classifiers of each network's own are in the package up to commit bc6d89e")
    images = ALL_IMAGES if f"/{ALL}" in arm else IMAGES
    network: Path | Supernet = supernet
    if FIRST in arm:
        network = load_supernet(supernet)
        network.two_sided = False
    settings = [*common, *_fewer(arm), f"data.valid_images={images}"]
    for begin in range(0, len(missing), SLICE):
        part = missing[begin : begin + SLICE]
        found = score(network, [space.decode(key) for key in part], overrides=settings, config=CONFIG)
        with path.open("a") as file:
            file.write("".join(map(score_line, part, found)))
        print(f"{arm}: {begin + len(part)} of {len(missing)} scored", flush=True)


def score_line(key: str, found: Accuracy) -> str:
    """A line of a file of scores."""
    return json.dumps([key, [round(value, 4) for value in (found.top1, found.prob, found.likelihood)]]) + "\n"


def read_scores(path: Path) -> Iterator[tuple[str, list[float]]]:
    """The keys and scores of a file."""
    if path.exists():
        for line in path.read_text().splitlines():
            key, values = json.loads(line)
            yield key, values


if __name__ == "__main__":
    sys.exit(main())
