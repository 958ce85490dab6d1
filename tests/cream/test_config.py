"""Settings of the Cream commands: the published recipes, and the sentence for each mistake."""

from pathlib import Path

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import load
from fewshot_nas.config import dump_config, load_config
from fewshot_nas.cream.config import CheckpointConfig, ModelConfig, RetrainConfig, SearchConfig
from fewshot_nas.cream.model import MODELS, CreamSpace, model_of

CONFIGS = Path(__file__).parents[2] / "configs"
OWN = ["MODEL_SELECTION=-1", "INPUT_ARCH=[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]", "IMAGE_SIZE=0"]


@pytest.mark.parametrize(
    ("kind", "name"), [(SearchConfig, "search"), (RetrainConfig, "retrain"), (CheckpointConfig, "test")]
)
def test_the_published_recipe_can_be_read(kind, name):
    config = load(kind, CONFIGS / f"cream_{name}.yml")
    assert (config.data.name, config.IMAGE_SIZE) == ("folders", 0)


@pytest.mark.parametrize("kind", [SearchConfig, RetrainConfig, CheckpointConfig])
def test_a_dumped_config_reads_back_equal(tmp_path, kind):
    config = load(kind, None, ["IMAGE_SIZE=0", "data.train_images=9"])
    (tmp_path / "config.yml").write_text(dump_config(config))
    assert load(kind, tmp_path / "config.yml") == config
    assert load_config(tmp_path / "config.yml").data.train_images == 9  # the other commands leave out the rest


def test_overrides_win_over_the_file():
    config = load(SearchConfig, CONFIGS / "cream_search.yml", ["FLOPS_MAXIMUM=287", "run.seed=3"])
    assert (config.FLOPS_MAXIMUM, config.EPOCHS, config.run.seed) == (287.0, 120, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("FLOPS_MAXMUM=3", "FLOPS_MAXMUM is not a setting, expected one of IMAGE_SIZE, "),
        ("FLOPS_MAXIMUM=-1", "FLOPS_MAXIMUM is -1, expected a number >= 0"),
        ("FLOPS_MAXIMUM=a lot", "FLOPS_MAXIMUM is a lot, expected a number"),
        ("PICK_METHOD=best", "PICK_METHOD is best, expected one of meta, top1"),
        ("EPOCHS=0", "EPOCHS is 0, expected a whole number >= 1"),
        ("SLICE=1", "SLICE is 1, expected a whole number >= 2"),  # a batch norm has no statistics of one
        ("CALIBRATION_IMAGES=1", "CALIBRATION_IMAGES is 1, expected a whole number >= 2"),
        ("EPOCHS", "'EPOCHS' is not an override, expected KEY=value or section.key=value"),
        ("LR.x=1", "LR is {'x': '1'}, expected a number >= 0"),
        ("data=digits", "data is 'digits', expected a section with keys"),
        ("data.speed=1", "data.speed is not a setting"),
    ],
)
def test_a_mistake_is_named(override, message):
    with pytest.raises(InputError, match=f"^{message}"):
        load(SearchConfig, None, [override])


@pytest.mark.parametrize("kind", [SearchConfig, RetrainConfig])
def test_a_single_image_is_tested_but_not_trained_on(kind):
    with pytest.raises(InputError, match=r"^BATCH_SIZE is 1, expected a whole number >= 2"):
        load(kind, None, ["BATCH_SIZE=1"])
    assert load(CheckpointConfig, None, ["BATCH_SIZE=1"]).BATCH_SIZE == 1


def test_a_published_model_has_its_path_and_image_size():
    assert load(ModelConfig, None, ["MODEL_SELECTION=114", "IMAGE_SIZE=0"]).model() == MODELS[114]


def test_the_image_size_may_be_another():
    assert load(ModelConfig, None, ["MODEL_SELECTION=114", "IMAGE_SIZE=64"]).model().resolution == 64


def test_a_path_of_ones_own():
    config = load(ModelConfig, None, OWN)
    assert config.model() == model_of("[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]", 224)
    assert config.name == "arch"


def test_what_the_public_code_builds_otherwise_is_said_and_can_be_built():
    written, template = (load(ModelConfig, None, [*OWN, f"SINGLE_BLOCKS={way}"]) for way in ("written", "template"))
    said = written.unlike_public()
    assert "stage 1 of INPUT_ARCH, of one block, built as written: 6,050,200 params" in said
    assert "[[0],[0],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]], 6,044,368 params, as SINGLE_BLOCKS=template does" in said
    assert template.model() == MODELS[287]
    assert template.unlike_public() == ""
    assert load(ModelConfig, None, [OWN[0], OWN[1].replace("[3],", "[0],", 1)]).unlike_public() == ""
    assert load(ModelConfig, None, ["MODEL_SELECTION=14"]).unlike_public() == ""
    with pytest.raises(InputError, match="SINGLE_BLOCKS is template, but SPACE is changed"):
        load(ModelConfig, None, [*OWN, "SINGLE_BLOCKS=template", "SPACE.stem_width=8"]).model()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL_SELECTION=44"], "MODEL_SELECTION is 44, expected one of -1, 14, 43, 112, 114, 287, 481, 604"),
        (["MODEL_SELECTION=-1"], r"MODEL_SELECTION is -1 and INPUT_ARCH is \[\], expected either"),
        (["INPUT_ARCH=[[0],[1],[1],[1],[1],[1],[0]]"], "MODEL_SELECTION is 43 and INPUT_ARCH is .*, expected either"),
        (["MODEL_SELECTION=-1", "INPUT_ARCH=[[0],[1],[0]]"], "INPUT_ARCH: code .*, expected 5 stages"),
        (
            ["MODEL_SELECTION=-1", "INPUT_ARCH=[[0],[6],[1],[1],[1],[1],[0]]"],
            "INPUT_ARCH: .*: slot 1 block 0 is 6",
        ),
        (["MODEL_SELECTION=-1", "INPUT_ARCH=[0,1]"], r"INPUT_ARCH is 0, expected a list such as \[1, 2\]"),
    ],
)
def test_a_model_that_is_none_is_named(overrides, message):
    with pytest.raises(InputError, match=f"^{message}"):
        load(ModelConfig, None, overrides).model()


def test_the_small_search_and_its_retraining_have_one_space():
    searched, retrained = (
        load(SearchConfig, CONFIGS / "cream_small.yml"),
        load(RetrainConfig, CONFIGS / "cream_small_retrain.yml"),
    )
    assert searched.SPACE == retrained.SPACE != CreamSpace()
    assert searched.IMAGE_SIZE == searched.FLOPS_SIZE == retrained.IMAGE_SIZE
    assert retrained.model().values()["space"] == {
        name: list(value) if isinstance(value, tuple) else value for name, value in vars(searched.SPACE).items()
    }


def test_a_published_model_is_not_built_in_another_space():
    config = load(ModelConfig, None, ["SPACE.stem_width=8"])
    with pytest.raises(InputError, match="SPACE is changed, but MODEL_SELECTION=43 is a network of the published one"):
        config.model()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DEPTHS=[1,1]"], r"DEPTHS are \[1, 1\], expected 5 numbers"),
        (["DEPTHS=[4,4,4,4,4]", "FLOPS_MAXIMUM=100"], r"no depths have paths of 0 to 100 M FLOPs at 224 px"),
        (["FLOPS_SIZE=32", "LEGACY=true"], "the legacy FLOPs rule starts from 224 px, got 32"),
    ],
)
def test_a_budget_that_suits_nothing_is_named(overrides, message):
    with pytest.raises(InputError, match=message):
        load(SearchConfig, None, overrides).budget()


def test_depths_of_ones_own_are_those_searched():
    budget = load(SearchConfig, None, ["DEPTHS=[1,2,1,2,1]", "FLOPS_SIZE=64", "FLOPS_MAXIMUM=40"]).budget()
    assert (budget.space.lengths, budget.space.resolution) == ((1, 2, 1, 2, 1), 64)


@pytest.mark.golden
def test_the_published_batches_are_1024_images():
    for kind, name in ((SearchConfig, "search"), (RetrainConfig, "retrain")):
        assert load(kind, CONFIGS / f"cream_{name}.yml").BATCH_SIZE == 1024
