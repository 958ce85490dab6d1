"""Figures for papers, which need matplotlib."""

import sys

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.reporting.paper import write_figures


def test_each_figure_is_written_as_svg_and_png(study, tmp_path):
    pytest.importorskip("matplotlib")
    paths = write_figures(study, tmp_path / "figures")
    names = ("ranking", "truth", "cost_1", "cost_2", "tau")
    assert [path.name for path in paths] == [f"{name}.{ending}" for name in names for ending in ("svg", "png")]
    for path in paths:
        assert path.read_bytes().startswith(b"<?xml" if path.suffix == ".svg" else b"\x89PNG")


def test_the_same_study_gives_the_same_files(study, tmp_path):
    pytest.importorskip("matplotlib")
    first, second = (write_figures(study, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_text_in_an_svg_stays_text(study, tmp_path):
    pytest.importorskip("matplotlib")
    ranking = write_figures(study, tmp_path)[0].read_text()
    assert ">1 (one-shot)</text>" in ranking


def test_nothing_to_draw_is_no_figure(empty_study, tmp_path):
    pytest.importorskip("matplotlib")
    assert write_figures(empty_study, tmp_path) == []


def test_without_matplotlib_the_extra_is_named(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"matplotlib is not installed; `pip install 'fewshot-nas\[figures\]'"):
        write_figures(study, tmp_path)
