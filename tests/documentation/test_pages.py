"""What the pages show is true: command lines, settings, files and links; the README's lines really run."""

import re
from pathlib import Path

import numpy as np
import pytest

from fewshot_nas.__main__ import COMMANDS, main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.space.pool import Entry, make_pool, part_path, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("studies/**/*.md")),
    ROOT / "json_file" / "README.md",
]


# The pages whose command lines run in the order of the page.
WALKS = ["README.md", "docs/pipeline.md", "docs/imagenet.md", "docs/spaces.md", "docs/fit.md"]


@pytest.fixture
def written(page):
    """A page of the project, by its path."""
    return lambda path: page((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_shows_what_is_there(page, check, path):
    check(page(path.read_text()), path.parent)


def test_the_walks_show_every_command(written, check):
    shown = [call for path in WALKS for call in check(written(path), (ROOT / path).parent)]
    assert {command for command, *_ in shown} == set(COMMANDS)


@pytest.mark.parametrize("path", WALKS)
def test_no_command_line_of_a_walk_is_overlooked(written, path):
    """A block that is not taken for shell would not be checked."""
    assert "".join(written(path).blocks()) == written(path).shell()


def test_the_readme_is_short(written):
    assert 700 <= len(written("README.md").text.split()) <= 900


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        ("README.md", "scripts/quickstart.sh ", "scripts/quick.sh "),
        ("README.md", "scripts/quickstart.sh ", "scripts/quickstart.sh --fast "),
        ("README.md", "fewshot-nas merge", "fewshot-na merge"),
        ("README.md", "fewshot-nas merge", "fewshot-nas join"),
        ("README.md", "python -m fewshot_nas.merge", "python -m fewshot_nas.join"),
        ("README.md", "--json_part=1-8 --limit=30", "--json_parts=1-8 --limit=30"),
        ("README.md", "--limit=30", "--limit=all"),
        ("README.md", "RESUME_PATH=", "CHECKPOINT="),
        ("README.md", "\ndone\n", "\n"),
        ("README.md", "`readme.ipynb`", "`reader.ipynb`"),
        ("README.md", "(docs/speed.md)", "(docs/fast.md)"),
        ("README.md", "(docs/method.svg)", "(docs/picture.svg)"),
        ("docs/imagenet.md", "configs/imagenet.yml --save", "configs/image.yml --save"),
        ("docs/imagenet.md", "few_shot.lr=0.002", "few_shot.rate=0.002"),
        ("docs/imagenet.md", "few_shot.lr=0.002", "few_shot.lr=slow"),
        ("docs/imagenet.md", 'train() { on_gpus "$@" --config', 'train() { on_gpus "$@" --settings'),
        ("docs/imagenet.md", "torchrun --nproc_per_node=8 -m", "torchrun --processes=8 -m"),
        ("docs/imagenet.md", "torchrun --nproc_per_node=8 -m", "torchrun --nproc_per_node=8"),
        ("docs/imagenet.md", "torchrun --nnodes=2", "torchrun --machines=2"),
        ("docs/imagenet.md", "--phase=$phase", "--phases=$phase"),
        ("docs/imagenet.md", "sbatch scripts/slurm", "sbatch --machines=4 scripts/slurm"),
        ("docs/imagenet.md", 'slurm_train.sh "${1#fewshot_nas.}"', "slurm_train.sh train_network"),
        ("docs/imagenet.md", "scripts/slurm_train.sh", "scripts/slurm_learn.sh"),
        ("docs/imagenet.md", "slurm_evaluate.sh imagenet 7_from_6 17", "slurm_evaluate.sh imagenet 7_from_6"),
        ("docs/imagenet.md", "slurm_evaluate.sh imagenet 7_from_6 17", "slurm_evaluate.sh imagenet 7_from_6 last"),
        ("docs/spaces.md", "preset: px28", "preset: px27"),
        ("docs/spaces.md", "in_channels: 3", "channels: 3"),
        ("docs/spaces.md", "--config mine.yml", "--config yours.yml"),
        ("docs/spaces.md", "`data.name=cifar10 space.preset=cifar", "`space.preset=cifar"),
        ("docs/pipeline.md", "`training.epochs=50`", "`training.epoch=50`"),
        ("docs/pipeline.md", "`test --json_part=1-8`", "`test --part=1-8`"),
    ],
)
def test_a_mistake_on_a_page_is_noticed(written, page, check, path, right, wrong):
    text = written(path).text
    assert right in text
    with pytest.raises((AssertionError, InputError, SystemExit, FileNotFoundError)):
        check(page(text.replace(right, wrong, 1)), (ROOT / path).parent)


@pytest.fixture
def script_calls(calls):
    """The commands that a script of ours would run, changed or not, as `calls` returns them."""

    def of(name, right="", wrong=""):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert right in text
        return calls(re.sub("(?m)^source .*", "install() { :; }", text.replace(right, wrong)))

    return of


@pytest.mark.parametrize(
    ("script", "count"), [("scripts/quickstart.sh", 13), ("studies/mnist/run.sh", 100), ("studies/pairs/run.sh", 10)]
)
def test_commands_know_all_that_a_script_gives_them(script_calls, script, count):
    assert len(script_calls(script)) >= count


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("training.digits=", "training.digit="),
        ("training.extremes=space", "training.extremes=ends"),
        ("--limit=30", "--limits=60"),
        ("studies.mnist.table --collect", "studies.mnist.table --gather"),
    ],
)
def test_a_mistake_in_a_script_is_noticed(script_calls, right, wrong):
    with pytest.raises((AssertionError, InputError, SystemExit)):
        script_calls("studies/mnist/run.sh", right, wrong)


# Settings that make a matter of seconds of any line of a walk, on the digits.
TINY = "space.preset=px8 space.in_channels=1 space.resolution=8 data.name=digits data.workers=0 run.threads=1"
TINY += " training.resolutions=[] few_shot.resolutions=[]"
TINY += " training.warmup_epochs=0 stand_alone.warmup_epochs=0"
CREAM = "IMAGE_SIZE=16 BATCH_SIZE=8 EPOCHS=1 data.name=digits data.workers=0 data.train_images=16 data.valid_images=20"
MORE = {
    "latency": ["--rounds=1"],
    "search": ["--budget=4", "--population=4", "--images=20"],
    "test": ["--images=20"],
    "cream.search": f"{CREAM} EPOCHS=2 SHARED_EPOCHS=1 REVIEWS=1 REVIEW_PATHS=2 SLICE=2 CALIBRATION_IMAGES=16".split(),
    "cream.retrain": f"{CREAM} WARMUP_EPOCHS=0 COOLDOWN_EPOCHS=0".split(),
}


@pytest.fixture
def run_small(documented, small):
    """Runs commands as they stand but for their size, with a pool of 32 archs and a ground truth for them."""
    pool = make_pool(PX8, seed=0, size=32)
    for number, part in enumerate(split_pool(pool, 8), start=1):
        entries = {key: Entry(0.0, arch) for key, arch in part.items()}
        write_arch_file(part_path(documented / "json_file" / "json8", number), PX8, entries)
    truth = {key: Entry(90 + place / 10, arch) for place, (key, arch) in enumerate(pool.items())}
    write_arch_file(documented / "json_file" / "digits" / "gt_arch30.json", PX8, truth)

    def run(calls):
        for command, *arguments in calls:
            more = [*small, *TINY.split()] if command.startswith("train_") else MORE.get(command, [])
            # A sample has to fit the pool, and a latency the machine.
            fitting = [each.replace("2000", "24").replace("latency=100us", "latency=1s") for each in arguments]
            assert main([command, *fitting, *more]) == 0

    return run


def test_the_pipeline_of_the_readme_runs(written, calls, run_small, documented, capsys):
    blocks = written("README.md").blocks()
    (block,) = (block for block in blocks if block.startswith("fewshot-nas train_supernet --save digits"))
    run_small(calls(block))
    assert "against json_file/digits/gt_arch30.json, with 95 % intervals:" in capsys.readouterr().out
    run = documented / "results" / "digits"
    assert len(read_json(run / "7_from_6" / "json_results" / "epoch1_all_test" / "prob_json_final.json")) == 32
    assert (run / "report.html").exists()


@pytest.mark.slow
@pytest.mark.last
def test_five_commands_lead_from_images_to_an_onnx_file(written, calls, run_small, documented):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    (block,) = (block for block in written("docs/pipeline.md").blocks() if "fewshot-nas latency" in block)
    five = calls(block)
    assert len(five) == 5
    run_small(five)
    session = runtime.InferenceSession(str(documented / "results" / "fast" / "best.onnx"))
    (logits,) = session.run(None, {"images": np.zeros((3, 1, 8, 8), np.float32)})
    assert logits.shape == (3, 10)
    run = documented / "results" / "fast"
    best = read_json(run / "searches" / "best" / "found.json")["archs"][0]
    assert best["latency"] <= 1_000_000
    assert read_json(run / "stand_alone" / "best_seed0" / "result.json")["arch"] == best["code"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("README.md", "results/save/2/json_results/epoch17_all_test/top1_json_final.json"),
        ("docs/pipeline.md", "subnet.onnx"),
        ("docs/imagenet.md", "results/imagenet/7_from_6/json_results/epoch17_all_test/top1_json_final.json"),
        ("docs/spaces.md", "json_file/cifar/part1.json"),
    ],
)
def test_every_line_of_a_walk_runs(written, check, run_small, documented, path, made):
    """In order: a phase finds its parent, a test its supernet, a merge all eight parts."""
    pytest.importorskip("onnxscript")
    run_small(check(written(path), (ROOT / path).parent))
    assert (documented / made).exists()
