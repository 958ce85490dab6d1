"""Settings: defaults, files and overrides, and the sentence for each mistake."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import fewshot_nas
from fewshot_nas.config import Config, dump_config, load_config
from fewshot_nas.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"


def test_the_digits_file_is_the_default():
    assert load_config(CONFIGS / "digits.yml") == Config()
    assert yaml.safe_load((CONFIGS / "digits.yml").read_text()) == yaml.safe_load(dump_config(Config()))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[!c]*.yml")), ids=lambda path: path.name)
def test_every_file_can_be_read(path):
    assert isinstance(load_config(path), Config)


def test_a_dumped_config_reads_back_equal(tmp_path):
    config = load_config(None, ["training.resolutions=[6, 8]", "space.in_channels=3", "data.train_images=10"])
    (tmp_path / "config.yml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yml") == config


def test_the_truth_is_the_one_that_is_set_or_the_run_s_own_or_the_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = load_config().truth_path("one")
    assert (shipped.is_file(), shipped.is_absolute()) == (True, True)
    own = Path("results/one/gt_arch30.json")
    for other in ("data.name=folders", "run.pool=pool"):
        assert load_config(None, [other]).truth_path("one") == own
    own.parent.mkdir(parents=True)
    own.touch()
    assert load_config().truth_path("one") == own
    assert load_config(None, ["run.ground_truth=mine.json"]).truth_path("one") == Path("mine.json")


def test_the_pool_is_the_one_here_or_the_package_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (load_config().run.pool_path / "part8.json").is_file()
    Path("json_file/json8").mkdir(parents=True)
    assert load_config().run.pool_path == Path("json_file/json8")
    assert load_config(None, ["run.pool=space"]).run.pool_path == Path("space")


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "config.yml").write_text("training: {epochs: 5, lr: 0.5}")
    config = load_config(tmp_path / "config.yml", ["training.epochs=7"])
    assert (config.training.epochs, config.training.lr) == (7, 0.5)


@pytest.mark.parametrize(
    ("override", "value"),
    [("training.lr=1e-3", 0.001), ("training.lr=1", 1.0), ("training.epochs=3", 3), ("training.sampling=fair", "fair")],
)
def test_values_take_the_type_of_their_setting(override, value):
    config = load_config(None, [override])
    found = getattr(config.training, override.partition("=")[0].partition(".")[2])
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.speed=1", "training.speed is not a setting, expected one of epochs, "),
        ("few_shot.distill=prioritized", "few_shot.distill is prioritized, which needs few_shot.extremes=space"),
        ("speed.training=1", "speed is not a setting, expected one of space, data, "),
        ("epochs=1", "'epochs=1' is not an override, expected section.key=value"),
        ("training.epochs", "'training.epochs' is not an override"),
        ("training.epochs=0", "training.epochs is 0, expected a whole number >= 1"),
        ("training.batch_size=-1", "training.batch_size is -1, expected a whole number >= 1"),
        ("training.epochs=2.5", "training.epochs is 2.5, expected a whole number >= 1"),
        ("training.epochs=true", "training.epochs is True, expected a whole number >= 1"),
        ("training.epochs=", "training.epochs is None, expected a whole number >= 1"),
        ("training.lr=fast", "training.lr is 'fast', expected a number >= 0"),
        ("training.lr=-1e-3", "training.lr is '-1e-3', expected a number >= 0"),
        ("training.lr=nan", "training.lr is 'nan', expected a number >= 0"),
        ("training.lr=.inf", "training.lr is inf, expected a number >= 0"),
        ("training.dropout=1", "training.dropout is 1, expected a number >= 0 and < 1"),
        ("training.sampling=best", "training.sampling is 'best', expected one of random, fair"),
        ("training.resolutions=8", r"training.resolutions is 8, expected a list such as \[1, 2\]"),
        ("training.resolutions=[0]", "training.resolutions is 0, expected a whole number >= 1"),
        ("training.resolutions=[8", r"training.resolutions=\[8: not valid YAML"),
        ("evaluation.calibration_images=0", "evaluation.calibration_images is 0, expected a whole number >= 1"),
        ("run.seed=-1", "run.seed is -1, expected a whole number >= 0"),
        ("data.root=[1]", r"data.root is \[1\], expected a path"),
        ("data.name=1", "data.name is 1, expected a word"),
        ("space.stem_pool=2", "space.stem_pool is 2, expected true or false"),
        ("space.preset=px9", "space.preset is 'px9', expected one of cifar, px28, px8, resnet50, track1"),
        ("space.ratios=[1]", r"space px8: pool_digits are \(3, 3, 5, 7\), expected each in 1\.\.1"),
    ],
)
def test_a_mistake_is_named(override, message):
    with pytest.raises(InputError, match=f"^{message}"):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {speed: 1}", "training.speed is not a setting"),
        ("training: 3", "training is 3, expected a section with keys"),
        ("[1]", "expected sections such as `data:`, got list"),
        ("training: {epochs: 1", "not valid YAML"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, text, message):
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(InputError, match=f"config.yml: {message}"):
        load_config(tmp_path / "config.yml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yml: cannot be read"):
        load_config(tmp_path / "none.yml")


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_override_is_a_crash(name, value):
    with suppress(InputError):
        load_config(None, [f"training.{name}={value}"])


@pytest.mark.golden
def test_imagenet_s_batches_are_the_published_totals_on_eight_gpus():
    config = load_config(CONFIGS / "imagenet.yml")
    totals = [section.batch_size for section in (config.training, config.few_shot, config.stand_alone)]
    assert totals == [8 * 128, 8 * 128, 8 * 256]


@pytest.mark.parametrize("name", ["config.py", "cream/config.py"])
def test_every_setting_has_a_comment_above_it(name):
    lines = (Path(fewshot_nas.__file__).parent / name).read_text(encoding="utf-8").splitlines()
    # Sections of the whole configuration need none.
    keys = [number for number, line in enumerate(lines) if re.match(r"    \w+: .* = (?!field)", line)]
    assert len(keys) > 20
    assert [lines[number] for number in keys if not lines[number - 1].startswith("    # ")] == []
