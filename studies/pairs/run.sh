#!/usr/bin/env bash
# The test bed of docs/study_beds.md: blends of two garments, a ground truth of 200 archs, and supernets to judge by it.
#
#   studies/pairs/run.sh                    everything, about two hours on one core
#   studies/pairs/run.sh PART SEED          one part with one seed; parts may run side by side
#
# Parts: truth (seed 0: 200 archs; seeds 1 and 2: the first 30 of them), twice (seed 0: 30 archs trained twice as long),
# oneshot (seeds 0, 1, 2) and, only if they are named, each arm of studies/arms/run.py, as in its plan.md,
# scores (after oneshot and default: studies/scores/run.py on fashion_pairs), others (the same on the digits and, with seeds
# 0 and 1, on Fashion-MNIST) and predictions (after oneshot, seed 0). What is there already is reused and an interrupted
# training goes on, so give the same command again; several processes may share a part of the truth. At the end
# `python -m studies.page --collect` gathers what is in results/ and fills docs/study_beds.md.
set -euo pipefail
source "$(dirname "$(readlink -f "$0")")/../../scripts/environment.sh"

config="--config configs/fashion_pairs.yml"
# No ground truth while training: the last epoch is taken, so that nothing is chosen by what it is judged by.
supernet="run.ground_truth=results/pairs_none.json evaluation.every_epochs=100"

step() {
    echo "\$ $*"
    "$@" || fail "this step failed: $*"
}

truth() { # seed archs
    step python -m fewshot_nas.train_stand_alone $config --save=pairs_truth --target_arch_num="$2" \
        --ground_truth=results/pairs_truth/gt_arch200.json run.seed="$1"
}

twice() { # seed
    step python -m fewshot_nas.train_stand_alone $config --save=pairs_twice --target_arch_num=1-30 \
        --ground_truth=results/pairs_twice/gt_arch30.json stand_alone.epochs=2 run.seed="$1"
}

oneshot() { # seed
    local save=pairs_oneshot_s$1
    step python -m fewshot_nas.train_supernet $config --save="$save" $supernet run.seed="$1"
    step python -m fewshot_nas.test $config --save="$save" --json_part=1 --limit=200 --epoch=0 --test_set=0 --images=5000
}

scores() { # seed
    local script="-m studies.scores.run $config"
    step python $script results/pairs_arms/default_s"$1"/supernet.pth results/pairs_scores/default_s"$1".json \
        evaluation.calibration_images=512
    step python $script results/pairs_oneshot_s"$1"/supernet.pth results/pairs_scores/oneshot_s"$1".json
}

other() { # name configuration seed override...
    local save=scores_$1_s$3
    step python -m fewshot_nas.train_supernet --config "$2" --save="$save" training.epochs=4 run.seed="$3" \
        run.ground_truth=results/none.json evaluation.every_epochs=100 "${@:4}"
    step python -m studies.scores.run --config "$2" results/"$save"/supernet.pth results/pairs_scores/"$1"_s"$3".json "${@:4}"
}

predictions() { # seed
    local save=pairs_oneshot_s$1 settings="--images=1000 --calibration_images=512"
    step python -m fewshot_nas.test --save="$save" --epoch=1 --sample=1000 $settings
    step python -m fewshot_nas.test --save="$save" --epoch=1 --json_part=1 --limit=200 $settings
    step python -m fewshot_nas.merge --save="$save" --epoch=1_sample1000 --top=likelihood
    step python -m fewshot_nas.rank $config --save="$save" --top=likelihood \
        --scores results/"$save"/json_results/epoch1_sample1000
    step python -m studies.ranker.run --collect "$save"
}

part() {
    case $1 in
        truth) if [ "$2" = 0 ]; then truth 0 1-200; else truth "$2" 1-30; fi ;;
        twice) twice "$2" ;;
        oneshot | scores | predictions) "$1" "$2" ;;
        others)
            other digits configs/digits.yml "$2"
            other mnist configs/fashion_mnist.yml "$2" data.train_images=10000
            ;;
        *) step python -m studies.arms.run "$1" "$2" ;;
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
part twice 0
for seed in 0 1 2; do
    part oneshot $seed
done
step python -m studies.page --collect
