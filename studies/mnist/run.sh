#!/usr/bin/env bash
# The ranking study of docs/study_beds.md, on Fashion-MNIST: ground truth, supernets at equal cost, ablations.
#
#   studies/mnist/run.sh                    everything, about four hours on one core
#   studies/mnist/run.sh PART SEED          one part with one seed; parts may run side by side
#
# Parts: truth (seeds 0-2), and for supernets (seeds 0, 1) oneshot, few, sequence, none, table, ends, teacher, bignas,
# fair, space, prioritized. `sequence` splits the supernet of `oneshot`, `none` and `table` that of `few`, so they come
# after it. What is there already is reused and an interrupted training goes on, so give the same command again. At the
# end `python -m studies.mnist.table --collect` gathers the scores and `python -m studies.mnist.table` prints the table.
set -euo pipefail
source "$(dirname "$(readlink -f "$0")")/../../scripts/environment.sh"

config="--config configs/fashion_mnist.yml"
# No ground truth while training: the last epoch is taken, so that nothing is chosen by what it is judged by.
supernet="data.train_images=10000 run.ground_truth=results/study_none.json evaluation.every_epochs=100"

step() {
    echo "\$ $*"
    "$@" || fail "this step failed: $*"
}

truth() {
    step python -m fewshot_nas.train_stand_alone $config --save=study_truth --target_arch_num=1-30 \
        --ground_truth=results/study_truth/gt_arch30.json data.train_images=20000 run.seed="$1"
}

# Scores 30 archs on ranking images, and on test images where two methods are compared at equal cost.
score() { # save phase
    local split splits=0
    case $1/$2 in study_oneshot_*/1 | study_few_*/1 | study_few_*/7_from_6) splits="0 1" ;; esac
    for split in $splits; do
        step python -m fewshot_nas.test $config --save="$1" --split_group="$2" --json_part=1 --limit=30 --epoch=0 \
            --test_set=$split --images=2500 data.train_images=10000
    done
}

whole() { # save seed override...
    step python -m ${trainer:-fewshot_nas.train_supernet} $config --save="$1" $supernet run.seed="$2" "${@:3}"
    score "$1" 1
}

phases() { # save seed path-of-the-parent override...
    local groups
    step python -m fewshot_nas.train_few_shot $config --save="$1" --group_nums=2 --pretrained_path="$3" $supernet \
        run.seed="$2" "${@:4}"
    score "$1" 2
    for groups in 3 4 5 6 7; do
        step python -m fewshot_nas.train_few_shot $config --save="$1" --group_nums=$groups $supernet run.seed="$2" "${@:4}"
        score "$1" "${groups}_from_$((groups - 1))"
    done
}

part() {
    local name=$1 seed=$2 save=study_$1_s$2 short=training.epochs=4
    case $name in
        truth) truth "$seed" ;;
        oneshot) whole "$save" "$seed" ;;
        few) whole "$save" "$seed" $short && phases "$save" "$seed" "results/$save/supernet.pth" ;;
        sequence) phases "$save" "$seed" "results/study_oneshot_s$seed/supernet.pth" ;;
        none | table) phases "$save" "$seed" "results/study_few_s$seed/supernet.pth" few_shot.lr_multipliers="$name" ;;
        ends) whole "$save" "$seed" $short training.extremes=space ;;
        teacher) whole "$save" "$seed" $short training.distill=sandwich ;;
        bignas) whole "$save" "$seed" $short training.extremes=space training.distill=sandwich ;;
        fair) whole "$save" "$seed" $short training.sampling=studies.mnist.fair:FairArchs ;;
        space) whole "$save" "$seed" $short training.digits=all ;;
        prioritized) trainer=studies.mnist.prioritized whole "$save" "$seed" $short training.extremes=space ;;
        *) fail "unknown part $name, expected one of those that this script's head names" ;;
    esac
}

case $# in
    0 | 2) ;;
    *) fail "expected nothing, or a part and a seed" ;;
esac
install ""
if [ $# -eq 2 ]; then
    part "$1" "$2"
    exit
fi
for seed in 0 1 2; do
    part truth $seed
done
for seed in 0 1; do
    for name in oneshot few sequence none table ends teacher bignas fair space prioritized; do
        part $name $seed
    done
done
step python -m studies.mnist.table --collect
step python -m studies.mnist.table
