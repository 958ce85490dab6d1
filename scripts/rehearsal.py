"""What scripts/rehearse.sh is made of: images, the lines of docs/imagenet.md, stand-ins for programs, and the table.

python scripts/rehearsal.py prepare [CONFIG] [SECTION.KEY=VALUE ...]     makes results/rehearsal, prints where it is
python scripts/rehearsal.py lines NUMBER                the shell of a block of the page's recipe
python scripts/rehearsal.py run PROGRAM [WORD ...]      runs a program with what is cut, and notes what it took
python scripts/rehearsal.py table                       what each line took, and what the whole recipe would
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "results" / "rehearsal"
NOTES = PLACE / "notes.jsonl"
BLOCKS = 4  # of the page's recipe: one machine, several machines, Slurm, Ray

# What the real recipe has: training and test images, archs trained alone.
TRAIN, TEST, ALONE, ARCHS, PARTS, CALIBRATION = 1_281_167, 50_000, 30, 45_000, 8, 8192
CLASSES, SIDES = 1000, (500, 375)


class Size(NamedTuple):
    """How much is rehearsed.

    Attributes:
        images: to train on, of all processes together.
        archs: of each part that are scored.
        more: settings of the user's.
    """

    config: str
    processes: int
    images: int
    archs: int
    more: list[str]

    def cuts(self, module: str) -> list[str]:
        """Arguments that make a command small."""
        if module.endswith(".test"):
            return [f"--limit={self.archs}", f"--images={min(self.images, TEST)}"]
        if not module.startswith("fewshot_nas.train_"):
            return []
        sections = ("training", "few_shot", "stand_alone")
        once = [f"{section}.{key}" for section in sections for key in ("epochs=1", "warmup_epochs=0")]
        images = [f"data.train_images={self.images}", f"data.valid_images={min(self.images, 2500)}"]
        images += [f"evaluation.calibration_images={min(self.images, CALIBRATION)}", f"data.num_classes={CLASSES}"]
        return [*once, *images, f"data.workers={self.workers}", *self.more]

    @property
    def workers(self) -> int:
        """Processes that decode, for each process that trains; the machine's cores are shared among these."""
        return max(1, min(8, (os.cpu_count() or 1) // self.processes - 1))


def prepare(words: Sequence[str]) -> None:
    """Make a directory for each block, all with the same images, and print where they are."""
    config = words[0] if words and "=" not in words[0] else "configs/imagenet.yml"
    more = [word for word in words if "=" in word]
    size = Size(str((ROOT / config).resolve()), number("PROCESSES", 2), number("IMAGES", 8), number("ARCHS", 2), more)
    shutil.rmtree(PLACE, ignore_errors=True)
    own = os.environ.get("DATA")
    images = Path(own).resolve() if own else PLACE / "imagenet"
    if not own:
        photographs(images, size.images)
    for block in range(1, BLOCKS + 1):
        directory = PLACE / str(block)
        (directory / "data").mkdir(parents=True)
        (directory / "data" / "imagenet").symlink_to(images)
        shutil.copytree(ROOT / "json_file", directory / "json_file")
        for name in ("configs", "scripts", "fewshot_nas", "docs"):
            (directory / name).symlink_to(ROOT / name)
    (PLACE / "size.json").write_text(json.dumps(size))
    print(PLACE)


def number(name: str, usual: int) -> int:
    """A whole number of the environment."""
    text = os.environ.get(name, str(usual))
    if not text.isdigit() or not int(text):
        sys.exit(f"rehearse.sh: {name} is {text!r}, expected a whole number >= 1")
    return int(text)


def photographs(directory: Path, count: int) -> None:
    """JPEG files of ImageNet's usual size, and the three lists that name them."""
    rng = np.random.default_rng(0)
    directory.mkdir(parents=True)
    for name, images in (("train", count), ("valid", count), ("valid_part2500", count)):
        lines = []
        for place in range(images):
            path = Path(name) / f"{place}.JPEG"
            (directory / name).mkdir(exist_ok=True)
            coarse = rng.integers(256, size=(12, 16, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC).save(directory / path, quality=90)
            lines.append(f"{path} {place % CLASSES}\n")
        (directory / f"{name}.txt").write_text("".join(lines))


def lines(block: int) -> str:
    """A block of shell of the page's recipe."""
    page = (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## The recipe\n(.*?)^## ", page, re.DOTALL | re.MULTILINE)
    shell = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(shell) == BLOCKS, f"the recipe of docs/imagenet.md has {len(shell)} blocks of shell, expected {BLOCKS}"
    train = re.search(r"^train\(\).*$", shell[0], re.MULTILINE)
    assert train
    return f"{train[0]}\n{shell[block - 1]}" if block in (2, 3) else shell[block - 1]


def lay_ready(block: int) -> None:
    """What the blocks for Slurm and Ray need of the first: all files, but of the supernets only the last phase's."""
    run, network = Path("results", "imagenet"), Path("7_from_6", "supernet.pth")
    first, here = PLACE / "1" / run, PLACE / str(block) / run

    def left_out(directory: str, names: list[str]) -> list[str]:
        large = [] if "stand_alone" in Path(directory).parts else [name for name in names if name.endswith(".pth")]
        return [*large, *({"json_results"} & set(names))]

    shutil.copytree(first, here, ignore=left_out)
    (here / "manifest.json").unlink()
    (here / network).hardlink_to(first / network)


def size() -> Size:
    """What `prepare` noted."""
    return Size(*json.loads((PLACE / "size.json").read_text()))


def run(words: Sequence[str]) -> int:
    """Run one program in the place of the real one."""
    if words[0] == "sbatch":
        return max(subprocess.call(["bash", *job], env=environment) for job, environment in jobs(words[1:]))
    print(f"$ {' '.join(words)}", file=sys.stderr, flush=True)
    begun = time.perf_counter()
    started = [subprocess.Popen(command) for command in commands(words, size())]
    codes = [each.wait() for each in started]
    took_s, memory_mb = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    record = {"words": list(words), "s": took_s, "mb": memory_mb, "images_per_s": speed(words), "code": max(codes)}
    with NOTES.open("a") as stream:
        stream.write(json.dumps(record) + "\n")
    return max(codes)


def commands(words: Sequence[str], cut: Size) -> list[list[str]]:
    """What to run in the place of a line: with what is cut, and as many processes as there are."""
    module = words[words.index("-m") + 1]
    arguments = [*words[words.index("-m") + 2 :], *cut.cuts(module)]
    arguments = [cut.config if word == "configs/imagenet.yml" else word for word in arguments]
    if words[0] == "python":
        here = " ".join(arguments).replace("--address auto", "").split()  # Ray on this machine instead of a cluster's
        return [[sys.executable, "-m", module, *here]]
    several = next((word for word in words if re.fullmatch(r"--nnodes=([2-9]|\d\d+)", word)), None)
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    if not several:
        return [[*torchrun, "--standalone", f"--nproc_per_node={cut.processes}", "-m", module, *arguments]]
    # Two machines, which meet as real ones do.
    known = [word for word in words[: words.index("-m")] if word.startswith(("--rdzv_backend", "--rdzv_id"))]
    here = ["--nnodes=2", f"--nproc_per_node={max(1, cut.processes // 2)}", "--rdzv_endpoint=localhost:29519"]
    return [[*torchrun, *known, *here, "-m", module, *arguments]] * 2


def jobs(words: Sequence[str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """What Slurm would run for sbatch's arguments, one after the other, with the variables that it sets."""
    options = [word for word in words if word.startswith("--")]
    count = next((place for place, word in enumerate(words) if not word.startswith("--")), len(words))
    given = dict(word[2:].split("=", 1) for word in words[:count] if "=" in word)
    print("17", flush=True)  # the job's number
    known = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": given.get("nodes", "2"), "SLURM_JOB_NODELIST": "localhost"}
    known |= {"SLURM_GPUS_ON_NODE": str(size().processes), "SLURM_CPUS_PER_TASK": str(os.cpu_count())}
    first, last = map(int, given.get("array", "1-1").split("-"))
    job = list(words[count:]) if count < len(words) else ["-c", options[-1].removeprefix("--wrap=")]
    for part in range(first, last + 1):
        yield job, {**os.environ, **known, "SLURM_ARRAY_TASK_ID": str(part)}


def speed(words: Sequence[str]) -> float | None:
    """Images per second that a training has noted in its log, of the files that have just been written."""
    logs = [path for path in Path("results").glob("**/log.jsonl") if time.time() - path.stat().st_mtime < 60]
    if not any("train_" in word for word in words) or not logs:
        return None
    newest = max(logs, key=lambda path: path.stat().st_mtime)
    times = [json.loads(line).get("time") for line in newest.read_text().splitlines()]
    return next((each["images_per_s"] for each in reversed(times) if each), None)


def table(records: Sequence[dict[str, Any]], cut: Size) -> Iterator[str]:
    """Markdown: what each line took, and what the whole recipe would take at the same rates."""
    yield "| line | s | MB of a process | images/s |"
    yield "|---|---|---|---|"
    for each in records:
        rate = f"{each['images_per_s']:.2f}" if each["images_per_s"] else ""
        yield f"| `{shown(each['words'])}` | {each['s']:.0f} | {each['mb']:.0f} | {rate} |"
    yield ""
    yield f"{sum(each['s'] for each in records) / 60:.1f} minutes in all. The whole recipe at these rates:"
    yield ""
    yield "| part | hours |"
    yield "|---|---|"
    for name, hours in estimate(records, cut):
        yield f"| {name} | {hours:,.0f} |"


def shown(words: Sequence[str]) -> str:
    """The module of a line with the arguments that tell it from others."""
    kept = re.compile(r"--(phase|json_part|nnodes)=.*")
    return " ".join([words[words.index("-m") + 1], *(word for word in words if kept.fullmatch(word))])


def estimate(records: Sequence[dict[str, Any]], cut: Size) -> Iterator[tuple[str, float]]:
    """Hours of each part of the recipe: epochs at the images per second, archs at the seconds of an arch."""
    from fewshot_nas.config import load_config

    config = load_config(Path(cut.config), cut.more)
    kinds = {
        "train_stand_alone": (f"{ALONE} archs alone", config.stand_alone.epochs * ALONE),
        "train_supernet": ("one-shot", config.training.epochs),
        "train_few_shot": ("six few-shot phases", config.few_shot.epochs * 6),
    }
    for module, (name, epochs) in kinds.items():
        rates = [each["images_per_s"] for each in records if module in shown(each["words"]) and each["images_per_s"]]
        if rates:
            yield name, epochs * TRAIN / (sum(rates) / len(rates)) / 3600
    scored = [each["s"] for each in records if "fewshot_nas.test" in each["words"] and each["words"][0] == "torchrun"]
    if scored:
        image_s = min(scored) / (2 * cut.images * PARTS * cut.archs)  # calibration images and images to score on
        yield "scores (start-up counted as computing)", ARCHS * (CALIBRATION + TEST) * image_s / 3600


def main() -> int:
    """One of the four."""
    what, *words = sys.argv[1:]
    if what == "prepare":
        prepare(words)
    elif what == "lines":
        if int(words[0]) > 2:
            lay_ready(int(words[0]))
        print(lines(int(words[0])))
    elif what == "run":
        return run(words)
    else:
        print("\n".join(table([json.loads(line) for line in NOTES.read_text().splitlines()], size())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
