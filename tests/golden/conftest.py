"""A small run of both systems, and files of what it has to give, which the environment variable RENEW writes anew."""

import os
from pathlib import Path

import pytest

from fewshot_nas import finetune, make_pool, merge, test, train_few_shot, train_stand_alone, train_supernet
from fewshot_nas.cream import make_pool as make_paths
from fewshot_nas.cream import retrain, search
from tests.conftest import SMALL

HERE = Path(__file__).parent
CODE = "1554322222322212322212323254542444000000004353730000"
CREAM = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=32", "data.valid_images=20", "EPOCHS=3", "SLICE=2"]
CREAM += ["SPACE.stem_width=8", "SPACE.widths=[8,8,16,16,24]", "SPACE.last_width=32", "SPACE.head_width=32"]
CREAM += ["SPACE.stem_stride=1", "SPACE.strides=[2,2,1,2,1]", "SPACE.expansions=[2,3]", "DEPTHS=[1,2,1,1,1]"]
LEARNING = [
    "LR=0.0005",
    "FLOPS_MAXIMUM=60",
    "POOL_SIZE=3",
    "UPDATE_ITER=2",
    "CALIBRATION_IMAGES=16",
    "META_STA_EPOCH=1",
    "SHARED_EPOCHS=1",
]
LEARNING += ["REVIEWS=2", "REVIEW_PATHS=3", "HELD_IMAGES=4", "TEACH_EVERY=1"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The directory of a run of the commands, with two or three steps of each training."""
    here = tmp_path_factory.mktemp("golden")
    before = Path.cwd()
    os.chdir(here)
    try:
        make_pool.main(["--size=4", "--parts=1", "--out=json_file/json8"])
        settings = ["--save=run", *SMALL, "run.ground_truth=none.json"]
        train_supernet.main(settings)
        train_few_shot.main([*settings, "--group_nums=2"])
        test.main(["--save=run", "--split_group=2", "--json_part=1"])
        merge.main(["--save=run", "--stage=2", "--epoch=0"])
        train_stand_alone.main([*settings, "--target_arch_num=1", "--ground_truth=truth.json"])
        finetune.main([*settings, f"--arch={CODE}"])
        search.main(["--save=cream", *CREAM, *LEARNING])
        space = [each for each in CREAM if each.startswith(("SPACE", "DEPTHS"))]
        make_paths.main(["--size=3", "--out=paths.json", "FLOPS_MAXIMUM=60", *space])
        test.main(["--save=cream", "--json_part=all", "run.pool=paths.json"])
        learned = [each for each in CREAM if not each.startswith(("DEPTHS", "SLICE", "EPOCHS"))]
        found = "--from_search=results/cream/search/path.json"
        retrain.main(["--save=cream", found, *learned, "EPOCHS=1", "WARMUP_EPOCHS=0"])
    finally:
        os.chdir(before)
    return here


@pytest.fixture
def committed():
    """Reads a committed file; with RENEW in the environment it is written first."""

    def read(name, text):
        path = HERE / name
        if os.environ.get("RENEW"):
            path.write_text(text)
        return path.read_text()

    return read
