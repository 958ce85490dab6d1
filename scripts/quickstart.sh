#!/usr/bin/env bash
# Installs the project into .venv and runs the whole pipeline on 8x8 digits: one-shot supernet, few-shot
# phases 2 to 7, evaluation of the first archs of all eight parts, merge, a ranking of the whole pool, report. Under five
# minutes on two cores after the installation; given again, it reuses what is there. Every command is shown before it runs.
set -euo pipefail
source "$(dirname "$(readlink -f "$0")")/environment.sh"

[ $# -eq 0 ] || fail "expected no options, got $*"

step() {
    echo "\$ $*"
    "$@" || fail "this step failed: $*"
}

install ""
step python -m fewshot_nas.train_supernet --save=quickstart training.epochs=4
for groups in 2 3 4 5 6 7; do
    step python -m fewshot_nas.train_few_shot --save=quickstart --group_nums=$groups few_shot.epochs=1
done
for phase in 1 7_from_6; do
    step python -m fewshot_nas.test --save=quickstart --split_group=$phase --epoch=0 --test_set=1 --json_part=1-8 --limit=30
    step python -m fewshot_nas.merge --save=quickstart --stage=$phase --epoch=0_all_test
done
step python -m fewshot_nas.rank --save=quickstart
step python -m fewshot_nas.report --save=quickstart
