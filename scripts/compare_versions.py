"""Compare the numbers of two versions of the program, bit by bit, on this machine.

    python scripts/compare_versions.py                    about a minute of two cores
    python scripts/compare_versions.py --full             200 archs of each space, published few-shot files
    python scripts/compare_versions.py --base HEAD~3 --only px8,train
    python scripts/compare_versions.py --keep DIR         leaves there what both versions wrote

Another processor gives other bits, so no file can hold the expected numbers. The other version (by default the
last commit before blocks, supernets and training were rewritten) is checked out with `git worktree`. Each version
does the same work in a process of its own, with one thread, in an empty directory. It is used only as users use it:
by commands, and by what `import fewshot_nas` gives. Then the values in score files and logs are compared, and the
tensors in checkpoints. The tensors' names may differ, their bits may not.

What is compared, by part (`--only`):

    px8 px28 cifar resnet50 track1   top-1, top-5, mean probability and likelihood of archs, with 1, 2 and 7 groups; the
                                     supernets' first weights (they are trained at a rate of 0); costs
    train                            weights after 20 steps of each kind of training; a split by depth; a sample and its
                                     ranking; a search; an exported network
    cream                            a search of 30 steps with reviews, a board and teachers, and one as published;
                                     retraining, ground truth, scores
    published                        scores of a competition's supernet and of a timm network, in the published formats

The exit status is 0 if all bits are equal, else 1.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
BASE = "595f054"  # the last commit before blocks, supernets and training were rewritten
STEPS = 20
# What each version does: commands as `python -m` would run them, one after the other, and at last the costs.
DRIVER = """
import json, runpy, sys, time, warnings
warnings.simplefilter("ignore")
for module, *arguments in json.load(sys.stdin):
    began = time.monotonic()
    print("$", module, *arguments, flush=True)
    if module == "costs":
        import fewshot_nas
        preset, file = arguments
        codes = [entry["arch"] for entry in json.load(open(file)).values()]
        costs = [[fewshot_nas.macs(preset, code), fewshot_nas.params(preset, code, num_classes=10)] for code in codes]
        json.dump(dict(zip(codes, costs)), open(f"costs_{preset}.json", "w"))
    else:
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(f"fewshot_nas.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                sys.exit(end.code)
    print(f"# {time.monotonic() - began:.1f} s", flush=True)
"""
Command = list[str]
Values = dict[str, Any]


class Size(NamedTuple):
    """How much is compared."""

    archs: int  # of each space
    large: int  # of the spaces of large networks
    groups: Mapping[str, Sequence[int]]  # of few-shot supernets, by space
    public: Sequence[int]  # groups of supernets in the competition's format


QUICK = Size(6, 2, {"px8": (2, 7), "px28": (7,), "cifar": (2, 7), "resnet50": (7,), "track1": (2,)}, (1,))
FULL = Size(200, 8, dict.fromkeys(QUICK.groups, (2, 7)), (1, 2, 7))


# ---- the work -------------------------------------------------------------------------------------------------------

IMAGES = ["data.name=folders", "data.root=images", "data.num_classes=10", "space.in_channels=3"]
SPACES = {
    "px8": ["data.valid_images=64"],
    "px28": IMAGES,
    "cifar": IMAGES,
    "resnet50": [*IMAGES, "space.resolution=64"],
    "track1": [*IMAGES, "space.resolution=64"],
}
LARGE = ("resnet50", "track1")
SMALL = ["space.base_widths=[8,12,16,24]", f"data.train_images={16 * STEPS}", "data.valid_images=32"]
SMALL += [f"{kind}.batch_size=16" for kind in ("training", "few_shot", "stand_alone", "finetune")]
SMALL += [f"{kind}.epochs=1" for kind in ("training", "few_shot", "stand_alone", "finetune")]
SMALL += ["stand_alone.warmup_epochs=0", "evaluation.calibration_images=64", "evaluation.calibration_batch=32"]
SMALL += ["run.pool=pool_small", "run.ground_truth=none.json"]
RECIPE = ["extremes=space", "distill=sandwich", "label_smoothing=0.1", "dropout=0.2", "drop_connect=0.2"]
BIGNAS = [f"{kind}.{each}" for kind in ("training", "few_shot") for each in (*RECIPE, "resolutions=[6,8]")]
DEEP = "1554322222322212322212323254542444000000004353730000"
CREAM = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=92", "data.valid_images=40", "EPOCHS=3", "SLICE=2"]
CREAM += ["SPACE.stem_width=8", "SPACE.widths=[8,8,16,16,24]", "SPACE.last_width=32", "SPACE.head_width=32"]
CREAM += ["SPACE.strides=[2,2,1,2,1]", "SPACE.stem_stride=1", "SPACE.expansions=[2,3]", "DEPTHS=[1,2,2,1,1]"]
CREAM += ["FLOPS_MAXIMUM=60", "POOL_SIZE=4", "UPDATE_ITER=4", "CALIBRATION_IMAGES=32", "META_STA_EPOCH=1"]
REVIEWED = ["BOARD=review", "SHARED_EPOCHS=1", "REVIEWS=2", "REVIEW_PATHS=6", "HELD_IMAGES=32", "FINAL_STEPS=2"]
AS_PUBLISHED = ["BOARD=batch", "SHARED_EPOCHS=0", "TEACH_EVERY=1", "data.train_images=80"]


def scores(preset: str, size: Size) -> Iterator[Command]:
    """A supernet with its first weights, split, and scores of the archs of a pool."""
    archs = size.large if preset in LARGE else size.archs
    space = f"space.preset={preset}"
    settings = [space, *SPACES[preset], f"run.pool=pool_{preset}", "run.ground_truth=none.json"]
    settings += ["evaluation.calibration_images=16", "evaluation.calibration_batch=8"]
    settings += [f"{kind}.{setting}" for kind in ("training", "few_shot") for setting in ("lr=0", "epochs=1")]
    settings += [
        f"{kind}.{setting}" for kind in ("training", "few_shot") for setting in ("batch_size=16", "random_subnets=0")
    ]
    settings += ["training.warmup_epochs=0", "data.train_images=16"]
    yield ["make_pool", space, f"--size={archs}", "--parts=1", f"--out=pool_{preset}"]
    yield ["train_supernet", f"--save={preset}", *settings]
    for groups in size.groups[preset]:
        yield ["train_few_shot", f"--save={preset}", f"--group_nums={groups}", *settings]
    two = 2 in size.groups[preset]
    for phase in ("1", *(f"{groups}_from_2" if two and groups > 2 else groups for groups in size.groups[preset])):
        yield ["test", f"--save={preset}", f"--split_group={phase}", "--json_part=1", "--epoch=0"]
    yield ["costs", preset, f"pool_{preset}/part1.json"]


def trainings() -> Iterator[Command]:
    """Each kind of training of the ResNets, 20 steps each; and what is made from their results."""
    yield ["make_pool", "--size=40", "--parts=1", "--out=pool_small"]
    for save, more in (("plain", []), ("bignas", BIGNAS)):
        run = [f"--save={save}", *SMALL, *more]
        yield ["train_supernet", *run]
        yield ["train_few_shot", *run, "--group_nums=2"]
    run = ["--save=plain", *SMALL]
    yield ["train_few_shot", *run, "--group_nums=3"]
    yield [
        "train_few_shot",
        *run,
        "--split_by=choice",
        "--slots=2 depth",
        "--pretrained_path=results/plain/supernet.pth",
    ]
    yield [
        "train_supernet",
        "--save=bottlenecks",
        *SMALL,
        "space.block=bottleneck",
        "training.digits=all",
        "training.random_subnets=3",
    ]
    yield ["train_stand_alone", *run, "--target_arch_num=1-2", "--ground_truth=truth.json"]
    yield ["finetune", *run, f"--arch={DEEP}"]
    yield ["test", "--save=plain", "--split_group=3_from_2", "--sample=30", "--epoch=0"]
    yield ["merge", "--save=plain", "--stage=3_from_2", "--epoch=0_sample30"]
    yield ["rank", "--save=plain"]
    yield [
        "search",
        "--save=plain",
        "--population=8",
        "--budget=24",
        "--max",
        "macs=0.5M",
        "--by=supernet",
        "--name=found",
    ]
    yield ["export", "--model=results/plain/supernet.pth", f"--arch={DEEP}", "--out=exported.safetensors"]


def cream() -> Iterator[Command]:
    """Cream's searches of 30 steps, retraining and ground truth."""
    yield ["cream.search", "--save=reviewed", *CREAM, *REVIEWED]
    yield ["cream.search", "--save=published", *CREAM, *AS_PUBLISHED]
    retrain = [
        "IMAGE_SIZE=16",
        "BATCH_SIZE=8",
        "data.train_images=80",
        "data.valid_images=40",
        "EPOCHS=1",
        "WARMUP_EPOCHS=0",
    ]
    found = "--from_search=results/reviewed/search/path.json"
    yield ["cream.retrain", "--save=reviewed", found, *retrain]
    yield [
        "cream.make_pool",
        "--size=8",
        "--out=paths.json",
        *(each for each in CREAM if "SPACE" in each or "FLOPS" in each or "DEPTHS" in each),
    ]
    yield ["cream.retrain", "--save=small", "MODEL_SELECTION=14", *retrain]


def published(size: Size) -> Iterator[Command]:
    """Scores of files in the published formats, which `make_published` has put into both directories."""
    settings = ["--json_part=1", "--epoch=1", "--limit=1", "--images=8", "--calibration_images=8"]
    settings += ["space.preset=track1", *IMAGES, "run.pool=pool_track1"]  # of 224 pixels, as published
    for groups in size.public:
        phase = PHASES[groups] or "1"
        yield ["test", "--save=public", f"--split_group={phase}", "--model_name=public", *settings]
    yield ["cream.test", "MODEL_SELECTION=14", "IMAGE_SIZE=16", "RESUME_PATH=public/14.pth.tar"]


def make_images(directory: Path) -> None:
    """Pictures of ten classes, 40 pixels each: 64 to train on, 16 to rank on, 10 to test on."""
    generator = np.random.default_rng(0)
    means = generator.integers(40, 216, (10, 5, 5, 3))
    for part, count in (("train", 64), ("val", 16), ("test", 10)):
        for number in range(count):
            coarse = np.clip(means[number % 10] + generator.integers(-40, 40, (5, 5, 3)), 0, 255).astype(np.uint8)
            path = directory / part / f"class{number % 10}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(path)


PHASES = {1: "", 2: "2", 7: "7_from_2"}  # of track1, by groups
LAYERS = {"conv1": ("conv1", "bn1"), "conv2": ("conv2", "bn2"), "shortcut": ("short_conv", "short_bn")}


def public_name(name: str, few_shot: bool, depths: Sequence[int]) -> str:
    """The public solution's name of a tensor of a supernet of the commit `BASE`."""
    match name.split("."):
        case ["stem", layer, kind]:
            return f"module.first_conv.{'conv.conv' if layer == 'conv' else 'bn.bn'}.{kind}"
        case ["heads", group, kind]:
            return f"module.classifier{f'_groups.{group}' if few_shot else ''}.linear.linear.{kind}"
        case ["stages", stage, group, block, unit, layer, kind]:
            place = f"{stage}.{group}.{block}" if few_shot else f"{sum(depths[: int(stage)]) + int(block)}"
            conv, norm = LAYERS[unit]
            return f"module.blocks.{place}.{f'{conv}.conv' if layer == 'conv' else f'{norm}.bn'}.{kind}"
    raise ValueError(f"{name}: not a tensor of {BASE}")


def make_published(base: Path, sides: Sequence[Path], size: Size) -> None:
    """The base's weights in the published formats, in every side's directory."""
    for groups in size.public:
        phase = PHASES[groups]
        model = torch.load(base / "results/track1" / phase / "supernet.pth", weights_only=True)["model"]
        public = {public_name(name, groups > 1, (5, 5, 8, 5)): tensor for name, tensor in model.items()}
        for side in sides:
            (side / "results/public" / phase).mkdir(parents=True, exist_ok=True)
            torch.save(public, side / "results/public" / phase / "public.pth")
    retrained = (base / "results/small/retrain_14/14.pth.tar").read_bytes()
    for side in sides:
        (side / "public").mkdir(exist_ok=True)
        (side / "public/14.pth.tar").write_bytes(retrained)


# ---- the two versions -----------------------------------------------------------------------------------------------


@contextmanager
def checked_out(commit: str, directory: Path) -> Iterator[Path]:
    """The files of a commit, for a while."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(directory), commit], check=True)
    try:
        yield directory
    finally:
        subprocess.run([*git, "remove", "--force", str(directory)], check=True)


def work(versions: Mapping[Path, Path], commands: Sequence[Command], *, in_turns: bool) -> None:
    """Let each version do the commands in its directory.

    Args:
        versions: the version's files by the directory in which it works.
        in_turns: one version after the other, which leaves a core to somebody else.
    """
    started = []
    for directory, version in versions.items():
        directory.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(version), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        log = (directory / "output.txt").open("a")
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(commands).encode())
        process.stdin.close()
        started.append((directory, process))
        if in_turns:
            process.wait()
    for directory, process in started:
        if process.wait():
            tail = (directory / "output.txt").read_text().splitlines()[-12:]
            raise SystemExit("\n".join([f"{directory.name} failed, status {process.returncode}:", *tail]))


# ---- what they have written -----------------------------------------------------------------------------------------

# Keys whose values are no results: times, places, and how something was computed.
BESIDE = {"time", "seconds", "checkpoint", "checkpoint_sha256", "numerics", "recipe", "file", "files"}
BESIDE |= {"source", "made_by", "ground_truth", "format", "space", "chosen"}
FILES = ("pool_*/*.json", "costs_*.json", "truth*.json", "paths.json", "exported.*", "results/**/*")
ENDINGS = (".json", ".jsonl", ".pth", ".tar", ".safetensors", ".csv")
LEFT_OUT = ("manifest*", "public.pth", "journal*", "nan_*.pth", "epoch_*.pth")  # the chosen one is supernet.pth
STATE = ("model", "matching")  # of a search, whose supernet no other file has; running statistics there are not used
UNUSED = ("running_mean", "running_var", "num_batches_tracked")


def written(directory: Path) -> set[str]:
    """The files to compare, relative to a version's directory."""
    found = {path for pattern in FILES for path in directory.glob(pattern) if path.suffix in ENDINGS and path.is_file()}
    left_out = {path for path in found if path.name == "last.pth" and path.parent.name != "search"}
    return {str(path.relative_to(directory)) for path in found - left_out if not any(map(path.match, LEFT_OUT))}


def content(path: Path) -> Values:
    """The numbers, words and tensors of a file by their places in it."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    if path.suffix in (".pth", ".tar"):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        if path.name == "last.pth":
            state = dict(flat({part: loaded[part] for part in STATE}))
            return {place: value for place, value in state.items() if not place.endswith(UNUSED)}
        return dict(flat(loaded.get("model", loaded)))
    if path.suffix == ".csv":
        return dict(enumerate(path.read_text().splitlines()))  # type: ignore[arg-type]
    text = path.read_text()
    return dict(flat([json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)))


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with their places, without what lies beside the results."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in BESIDE:
                yield from flat(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from flat(item, f"{place}/{number}")
    else:
        yield place, value


def bits(value: Any) -> Hashable:
    """Equal for two values if all their bits are."""
    if isinstance(value, Tensor):
        data = value.contiguous().flatten().view(torch.uint8).numpy()
        return str(value.dtype), tuple(value.shape), hashlib.sha256(data).hexdigest()
    return repr(value)


def differences(old: Values, new: Values) -> list[str]:
    """Sentences on what differs; tensors that only have other names do not."""
    changed = [place for place in old if place in new and bits(old[place]) != bits(new[place])]
    gone, added = [place for place in old if place not in new], [place for place in new if place not in old]
    unpaired = [*(old[place] for place in gone), *(new[place] for place in added)]
    if not changed and all(isinstance(value, Tensor) for value in unpaired):
        gone, added = unlike(old, new, gone, added)
    return [
        *(f"{place}: {apart(old[place], new[place])}" for place in changed),
        *(f"{place}: only in the base ({shown(old[place])})" for place in gone),
        *(f"{place}: only here ({shown(new[place])})" for place in added),
    ]


def unlike(old: Values, new: Values, gone: list[str], added: list[str]) -> tuple[list[str], list[str]]:
    """The places that are left when tensors with the same bits are paired, whatever their names.

    Then leading slices are paired: a supernet of the base stores inputs of a split first block that no subnet uses.
    """
    waiting: dict[Hashable, list[str]] = {}
    for place in added:
        waiting.setdefault(bits(new[place]), []).append(place)
    rest = [place for place in gone if not waiting.get(bits(old[place])) or not waiting[bits(old[place])].pop()]
    free = [place for places in waiting.values() for place in places]
    for place in list(rest):
        for other in free:
            narrow, wide = new[other], old[place]
            fits = narrow.dim() == wide.dim() == 4 and narrow.shape[1] < wide.shape[1]
            if fits and bits(wide[:, : narrow.shape[1]]) == bits(narrow):
                rest.remove(place)
                free.remove(other)
                break
    return rest, free


def apart(old: Any, new: Any) -> str:
    """How far two values are apart."""
    if isinstance(old, Tensor) and isinstance(new, Tensor) and old.shape == new.shape and old.is_floating_point():
        return f"{shown(old)}, at most {(old.double() - new.double()).abs().max().item():.3g} apart"
    if isinstance(old, float) and isinstance(new, float):
        return f"{old!r} and {new!r}, {abs(old - new):.3g} apart"
    return f"{shown(old)} and {shown(new)}"


def shown(value: Any) -> str:
    """A value in a few characters."""
    return f"tensor {list(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]


def compare(base: Path, here: Path, most: int) -> bool:
    """Report what differs, and whether nothing does."""
    ours, theirs = written(here), written(base)
    values, equal = 0, True
    for name in sorted(ours | theirs):
        if not (name in ours and name in theirs):
            found = [f"only {'here' if name in ours else 'in the base'}"]
        else:
            old = content(base / name)
            values += sum(value.numel() if isinstance(value, Tensor) else 1 for value in old.values())
            found = differences(old, content(here / name))
        if found:
            equal = False
            print(f"DIFFERENT  {name}: {len(found)} values")
            print("".join(f"    {line}\n" for line in found[:most]), end="")
    print(f"{len(ours | theirs)} files, {values:,} values: {'all bits are equal' if equal else 'NOT EQUAL'}")
    return equal


def main() -> int:
    """Run both versions and compare."""
    options = arguments()
    size, parts = FULL if options.full else QUICK, options.only.split(",")
    commands = [command for preset in SPACES if preset in parts for command in scores(preset, size)]
    commands += [*(trainings() if "train" in parts else ()), *(cream() if "cream" in parts else ())]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        base, here = place / "base", place / "here"
        for directory in (base, here):
            make_images(directory / "images")
        with checked_out(options.base, Path(temporary) / "version") as version:
            # A copy, so that the working tree may change meanwhile.
            shutil.copytree(ROOT / "fewshot_nas", Path(temporary) / "tree" / "fewshot_nas")
            versions = {base: version, here: Path(temporary) / "tree"}
            work(versions, commands, in_turns=options.in_turns)
            if {"published", "track1", "cream"} <= {*parts}:
                make_published(base, list(versions), size)
                work(versions, list(published(size)), in_turns=options.in_turns)
        equal = compare(base, here, options.lines)
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if equal else 1


PARTS = (*SPACES, "train", "cream", "published")


def arguments() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default=BASE, metavar="COMMIT", help=f"the other version (default {BASE})")
    parser.add_argument("--full", action="store_true", help="200 archs of each space (default: 6)")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new directory for what both versions write")
    parser.add_argument("--in_turns", action="store_true", help="one version after the other (default: both at once)")
    parser.add_argument("--lines", type=int, default=3, help="differences to show for each file (default 3)")
    options = parser.parse_args()
    if unknown := {*options.only.split(",")} - {*PARTS}:
        parser.error(f"--only names {', '.join(sorted(unknown))}, expected some of {', '.join(PARTS)}")
    if options.keep:
        options.keep.mkdir(parents=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
