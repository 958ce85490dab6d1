#!/usr/bin/env bash
# Scores all eight parts of the pool with a run's supernet, each part in a job of its own, and when all
# have succeeded merges them and writes the report. Submit from the project's directory, which the
# machines share:
#
#   scripts/slurm_evaluate.sh imagenet 7_from_6 17 --partition=gpu
#
# The arguments are the run, its phase and the epoch, which names the scores' directory; what follows them goes to
# sbatch. Given again after a failure, only what is missing is computed.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: scripts/slurm_evaluate.sh SAVE PHASE EPOCH [SBATCH_OPTION ...]" >&2
    exit 2
fi
save=$1 phase=$2 epoch=$3
shift 3
export PATH="$PWD/.venv/bin:$PATH"

# Slurm sets the part's number in each job; the other words are known now.
score="python -m fewshot_nas.test --save=${save@Q} --split_group=${phase@Q} --epoch=${epoch@Q} --test_set=1 --json_part=\$SLURM_ARRAY_TASK_ID"
merge="python -m fewshot_nas.merge --save=${save@Q} --stage=${phase@Q} --epoch=${epoch@Q}_all_test"
report="python -m fewshot_nas.report --save=${save@Q}"

parts=$(sbatch --parsable --job-name=fewshot_nas_test --array=1-8 --gpus-per-node=1 --cpus-per-task=8 \
    --time=1-00:00:00 --output=slurm-%x-%A-%a.log "$@" --wrap="$score")
sbatch --job-name=fewshot_nas_merge --dependency="afterok:${parts%%;*}" --time=1:00:00 --output=slurm-%x-%j.log \
    "$@" --wrap="$merge && $report"
