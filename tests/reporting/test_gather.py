"""What is gathered from a run's files, and from which of them where several would do."""

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.reporting.gather import gather
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

SPACE = PX8


def test_a_phase_is_compared_by_its_evaluation(study, truth):
    for phase in study.phases:
        scores = {arch_id: phase.evaluation.scores[arch_id].acc for arch_id in truth}
        assert phase.compared == scores
        accuracy = {arch_id: entry.acc for arch_id, entry in truth.items()}
        assert study.phase_rows[phase.name] == correlate(scores, accuracy)


def test_the_source_of_the_scores_is_said(study):
    assert [phase.source for phase in study.phases] == [
        "evaluation 1_all_test on 5,000 images",
        "evaluation 0_all_test on 5,000 images",
    ]


def test_without_an_evaluation_the_chosen_epoch_counts(phase_files, truth):
    study = gather("demo", {"1": phase_files("1", chosen=1)}, truth, SPACE)
    assert study.phases[0].compared == {"arch1": 91.0, "arch2": 94.0, "arch3": 93.0}
    assert study.phases[0].source == "training, epoch 1"
    assert study.phase_rows["1"].n == 3


def test_other_scores_are_shown_where_they_are_asked_for(phase_files, merged, truth):
    scored, trained = phase_files("1", chosen=1, evaluations=["4"]), phase_files("2", chosen=1)
    merged(scored.scores("4"), 50, metric="top1")
    wanted = merged(scored.scores("4"), 60, metric="likelihood")
    study = gather("demo", {"1": scored, "2": trained}, truth, SPACE, "likelihood")
    assert study.phases[0].compared == {arch_id: wanted[arch_id].acc for arch_id in truth}
    assert study.phases[1].compared == {"arch1": 83.0, "arch2": 82.0, "arch3": 84.0}


def test_scores_that_were_not_merged_are_not_replaced_by_others(phase_files, merged, truth):
    files = phase_files("1", evaluations=["4"])
    merged(files.scores("4"), 60, metric="top1")
    (phase,) = gather("demo", {"1": files}, truth, SPACE, "likelihood").phases
    assert (phase.evaluation, phase.unmerged) == (None, ("4",))


def test_without_a_choice_the_last_epoch_counts(phase_files, truth):
    assert gather("demo", {"1": phase_files("1")}, truth, SPACE).phases[0].source == "training, epoch 2"


def test_an_evaluation_of_fewer_archs_than_training_measured_does_not_count(phase_files, merged, truth):
    files = phase_files("1", evaluations=["2"])
    merged(files.scores("2"), 2)
    (phase,) = gather("demo", {"1": files}, truth, SPACE).phases
    assert phase.source == "training, epoch 2"
    assert len(phase.evaluation.scores) == 2


@pytest.mark.parametrize(
    ("evaluations", "best"),
    [
        ({"9": ("valid", 20), "2_all_test": ("test", 60)}, "9"),
        ({"10_all_test": ("test", 60), "9_all_test": ("test", 60)}, "10_all_test"),
        ({"10_all_test": ("test", 10), "9_all_test": ("test", 60)}, "9_all_test"),
    ],
)
def test_of_several_evaluations_the_weightiest_is_shown(phase_files, merged, truth, evaluations, best):
    files = phase_files("1", evaluations=evaluations)
    for epoch, (split, count) in evaluations.items():
        merged(files.scores(epoch), count, split)
    assert gather("demo", {"1": files}, truth, SPACE).phases[0].evaluation.epoch == best


def test_unmerged_evaluations_are_known(phase_files, merged, truth):
    files = phase_files("1", evaluations=["1", "2"])
    merged(files.scores("1"))
    (phase,) = gather("demo", {"1": files}, truth, SPACE).phases
    assert phase.unmerged == ("2",)


def test_costs_are_those_of_the_manifests_network(phase_files, merged, truth, archs):
    files = phase_files("1", evaluations=["1"])
    merged(files.scores("1"), space=SPACES["track1"].values(), num_classes=10, resolution=64)
    study = gather("demo", {"1": files}, truth, SPACE)
    assert study.costs["arch1"] == SPACES["track1"].cost(archs["arch1"], resolution=64, num_classes=10)


def test_costs_without_a_manifest_are_the_defaults(study, archs):
    assert study.costs == {arch_id: SPACE.cost(arch) for arch_id, arch in archs.items()}
    assert study.codes == {arch_id: PX8.encode(arch) for arch_id, arch in archs.items()}


def test_phases_follow_one_another(study):
    first, second = study.spans
    assert [first.x(epoch) for epoch in first.phase.log.epochs] == [1, 2, 3]
    assert [second.x(epoch) for epoch in second.phase.log.epochs] == [4, 5]


def test_the_best_phase_and_proxy_have_the_largest_tau(study):
    assert study.phase_rows[study.best_phase].kendall.value == max(
        row.kendall.value for row in study.phase_rows.values()
    )
    assert study.proxy_rows[study.best_proxy].kendall.value == max(
        row.kendall.value for row in study.proxy_rows.values()
    )


def test_nothing_is_best_of_nothing(empty_study):
    assert (empty_study.best_phase, empty_study.best_proxy) == (None, None)


def test_an_undefined_tau_is_not_the_best(phase_files, archs):
    flat = {arch_id: Entry(50, arch) for arch_id, arch in archs.items()}
    study = gather("demo", {"1": phase_files("1")}, flat, SPACE)
    assert (study.best_phase, study.best_proxy) == (None, None)


def test_an_id_that_means_two_archs_is_refused(phase_files, merged, archs):
    files = phase_files("1", evaluations=["1"])
    merged(files.scores("1"))
    with pytest.raises(InputError, match=r"phase 1: arch1 has the code .* elsewhere"):
        gather("demo", {"1": files}, {"arch1": Entry(50, archs["arch2"])}, SPACE)


def test_a_code_of_no_arch_is_refused(phase_files, merged):
    files = phase_files("1", evaluations=["1"])
    merged(files.scores("1"))
    path = files.scores("1") / "top1_json_final.json"
    path.write_text(path.read_text().replace('"arch": "1', '"arch": "9', 1))
    with pytest.raises(InputError, match=r"arch1: code '9.* character 1 is '9'"):
        gather("demo", {"1": files}, {}, SPACE)
