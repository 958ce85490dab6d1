"""Figures are what plotly takes, and show what was gathered."""

import itertools
import sys

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.reporting.figures import (
    accuracy_figure,
    columns,
    cost_figure,
    loss_figure,
    ranking_figure,
    tau_figure,
    truth_figure,
)
from fewshot_nas.reporting.gather import gather
from fewshot_nas.reporting.page import figures, write_figures
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.presets import SPACES


def filled(study, figure):
    """The figure with columns in place of their names, as the page's script does it."""
    known = columns(study)
    data = [
        {
            key: known[value] if isinstance(value, str) and value.startswith("@") else value
            for key, value in trace.items()
        }
        for trace in figure["data"]
    ]
    return figure | {"data": data}


def test_plotly_accepts_every_figure(study):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for name, figure in figures(study):
        assert graph_objects.Figure(filled(study, figure)).data, name


def test_all_columns_have_a_value_for_each_arch(study):
    known = columns(study)
    assert list(known) == ["@ids", "@codes", "@macs", "@score 1", "@score 2"]
    assert {len(column) for column in known.values()} == {60}
    assert known["@score 1"][39:41] == [round(study.phases[0].evaluation.scores["arch40"].acc, 3), None]


def test_the_ranking_has_a_row_for_each_phase_and_proxy(study):
    phases, proxies = ranking_figure(study)["data"]
    assert phases["y"] == ["1 (one-shot)", "2"]
    assert proxies["y"] == ["depth", "parameters", "MACs"]
    row = study.phase_rows["2"].kendall
    assert phases["x"][1] - phases["error_x"]["arrayminus"][1] == pytest.approx(row.low)
    assert phases["x"][1] + phases["error_x"]["array"][1] == pytest.approx(row.high)


def test_a_line_marks_the_best_proxy(study):
    (line,) = ranking_figure(study)["layout"]["shapes"]
    assert line["x0"] == line["x1"] == study.proxy_rows[study.best_proxy].kendall.value


def test_scores_stand_against_stand_alone_accuracy(study, truth):
    (points,) = truth_figure(study, study.phases[0])["data"]
    arch_id = points["customdata"][4]
    assert points["x"][4] == truth[arch_id].acc
    assert points["y"][4] == pytest.approx(study.phases[0].compared[arch_id], abs=1e-3)
    assert points["text"][4] == study.codes[arch_id]


def test_all_panels_have_the_same_axes(study):
    ranges = [
        (layout["xaxis"]["range"], layout["yaxis"]["range"])
        for layout in (truth_figure(study, phase)["layout"] for phase in study.phases)
    ]
    assert ranges[0] == ranges[1]


def test_costs_show_all_archs_the_edge_and_the_ground_truth(study, truth):
    phase = study.phases[1]
    cloud, edge, known = filled(study, cost_figure(study, phase.name, phase.evaluation))["data"]
    assert len(cloud["x"]) == 60
    assert all(low < high for low, high in itertools.pairwise(edge["y"]))
    assert max(edge["y"]) == max(cloud["y"])
    assert known["customdata"] == list(truth)
    place = cloud["customdata"].index("arch7")
    assert (cloud["x"][place], cloud["y"][place]) == (known["x"][6], known["y"][6])


def test_tau_runs_through_all_phases_with_its_interval(study):
    _, first, second_band, second = tau_figure(study)["data"]
    assert (first["x"], second["x"]) == ([1, 2, 3], [4, 5])
    assert second["y"] == [0.5, 0.5]
    assert second_band["x"] == [4, 5, 5, 4]
    assert second_band["y"] == pytest.approx([0.3, 0.3, 0.6, 0.6])


def test_the_chosen_epoch_has_a_star(study):
    _, first, _, second = tau_figure(study)["data"]
    assert first["marker"]["symbol"] == ["circle", "star", "circle"]
    assert second["marker"]["symbol"] == ["star", "circle"]


def test_losses_have_a_gap_between_phases(study):
    largest, sampled, smallest = loss_figure(study)["data"]
    assert largest["x"] == [1, 2, 3, None, 4, 5, None]
    assert largest["y"][:3] == [2.0, 1.9, 1.8]
    assert sampled["y"][0] == 1.25
    assert smallest["y"][0] == 1.75


def test_accuracies_are_those_of_the_extremes_and_of_the_ground_truth(study):
    largest, mean, smallest = accuracy_figure(study)["data"]
    assert (largest["y"][0], smallest["y"][0]) == (97.0, 90.0)
    assert mean["y"][0] == pytest.approx((91 + 94 + 93) / 3)


def test_an_epoch_that_was_not_measured_is_left_out(phase_files, truth):
    files = phase_files("1", epochs=1)
    files.log.write_text(files.log.read_text() + '{"epoch": 1, "loss": {"largest": 1}}\n')
    study = gather("demo", {"1": files}, truth, SPACES["px8"])
    assert accuracy_figure(study)["data"][0]["x"] == [1, None]
    assert loss_figure(study)["data"][0]["x"] == [1, 2, None]


def test_what_cannot_be_drawn_is_left_out(empty_study):
    assert list(figures(empty_study)) == []


def test_an_undefined_tau_has_no_row(phase_files, archs):
    flat = {arch_id: Entry(50, arch) for arch_id, arch in archs.items()}
    study = gather("demo", {"1": phase_files("1")}, flat, SPACES["px8"])
    assert [trace["y"] for trace in ranking_figure(study)["data"]] == [[], []]


# ---- Figures for papers, which need matplotlib ----------------------------------------------------------------------


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
