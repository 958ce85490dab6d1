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


@pytest.fixture
def readme(page):
    return page((ROOT / "README.md").read_text())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_shows_what_is_there(page, check, path):
    check(page(path.read_text()), path.parent)


def test_the_readme_shows_every_command(readme, check):
    assert {command for command, *_ in check(readme)} == set(COMMANDS)


def test_no_command_line_of_the_readme_is_overlooked(readme):
    """A block that is not taken for shell would not be checked."""
    assert "".join(readme.blocks()) == readme.shell()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("scripts/quickstart.sh ", "scripts/quick.sh "),
        ("scripts/quickstart.sh ", "scripts/quickstart.sh --fast "),
        ("python -m fewshot_nas.merge", "pyton -m fewshot_nas.merge"),
        ("python -m fewshot_nas.merge", "python -m fewshot_nas.join"),
        ("--json_part=1-8 --limit=30", "--json_parts=1-8 --limit=30"),
        ("--limit=30", "--limit=all"),
        ("configs/fashion_mnist.yml --save", "configs/fashion.yml --save"),
        ("few_shot.lr=0.002", "few_shot.rate=0.002"),
        ("few_shot.lr=0.002", "few_shot.lr=slow"),
        ('train() { on_gpus "$@" --config', 'train() { on_gpus "$@" --settings'),
        ("torchrun --nproc_per_node=8 -m", "torchrun --processes=8 -m"),
        ("torchrun --nproc_per_node=8 -m", "torchrun --nproc_per_node=8"),
        ("torchrun --nnodes=4", "torchrun --machines=4"),
        ("--resumed_split_groups=6", "--resumed_split_group_nums=6"),
        ("sbatch --nodes=4", "sbatch --machines=4"),
        ("scripts/slurm_train.sh train_supernet", "scripts/slurm_train.sh train_network"),
        ("scripts/slurm_train.sh train_supernet", "scripts/slurm_learn.sh train_supernet"),
        ("scripts/slurm_evaluate.sh imagenet 7_from_6 17", "scripts/slurm_evaluate.sh imagenet 7_from_6"),
        ("scripts/slurm_evaluate.sh imagenet 7_from_6 17", "scripts/slurm_evaluate.sh imagenet 7_from_6 last"),
        ("RESUME_PATH=", "CHECKPOINT="),
        ("\ndone\n", "\n"),
        ("preset: px28", "preset: px27"),
        ("in_channels: 3", "channels: 3"),
        ("--config mine.yml", "--config yours.yml"),
        ("`training.epochs=50`", "`training.epoch=50`"),
        ("`test --plan`", "`test --plans`"),
        ("`data.name=cifar10 space.preset=cifar", "`space.preset=cifar"),
        ("`python -m fewshot_nas`", "`python -m fewshot_nas.list`"),
        ("`readme.ipynb`", "`reader.ipynb`"),
        ("`fewshot_nas/config.py`", "`fewshot_nas/configuration.py`"),
        ("(docs/speed.md)", "(docs/fast.md)"),
        ("(docs/report.png)", "(docs/picture.png)"),
    ],
)
def test_a_mistake_in_the_readme_is_noticed(readme, page, check, right, wrong):
    assert right in readme.text
    with pytest.raises((AssertionError, InputError, SystemExit, FileNotFoundError)):
        check(page(readme.text.replace(right, wrong, 1)))


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


# Settings that make a matter of seconds of any line of the README, on the digits.
TINY = "space.preset=px8 space.in_channels=1 space.resolution=8 data.name=digits data.workers=0 run.threads=1"
TINY += " training.resolutions=[] few_shot.resolutions=[]"
CREAM = "IMAGE_SIZE=16 BATCH_SIZE=8 EPOCHS=1 data.train_images=16 data.valid_images=20"
MORE = {
    "latency": ["--rounds=1"],
    "search": ["--budget=4", "--population=4", "--images=20"],
    "test": ["--images=20"],
    "cream.search": f"{CREAM} EPOCHS=2 SHARED_EPOCHS=1 REVIEWS=1 REVIEW_PATHS=2 SLICE=2 CALIBRATION_IMAGES=16".split(),
    "cream.retrain": CREAM.split(),
    "cream.truth": CREAM.split(),
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


def test_the_pipeline_of_the_readme_runs(readme, calls, run_small, documented, capsys):
    (block,) = (
        block for block in readme.blocks() if block.startswith("python -m fewshot_nas.train_supernet --save digits")
    )
    run_small(calls(block))
    assert "against json_file/digits/gt_arch30.json, with 95 % intervals:" in capsys.readouterr().out
    run = documented / "results" / "digits"
    assert len(read_json(run / "7_from_6" / "json_results" / "epoch1_all_test" / "prob_json_final.json")) == 32
    assert (run / "report.html").exists()


@pytest.mark.slow
@pytest.mark.last
def test_five_commands_lead_from_images_to_an_onnx_file(readme, calls, run_small, documented):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    (block,) = (block for block in readme.blocks() if "fewshot_nas.latency" in block)
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
def test_every_line_of_the_readme_runs(readme, check, run_small, documented):
    """In order: a phase finds its parent, a test its supernet, a merge all eight parts."""
    pytest.importorskip("onnxscript")
    run_small(check(readme))
    scores = documented / "results" / "imagenet" / "7_from_6" / "json_results" / "epoch17_all_test"
    assert (scores / "top1_json_final.json").exists()
    assert (documented / "subnet.onnx").exists()
