#!/usr/bin/env bash
# One training command on a machine with eight GPUs, or on several (--nodes=2): Slurm runs this script on the first of
# them, and srun one torchrun on each. They share the project's directory, from which the job is submitted.
#
#   sbatch scripts/slurm_train.sh train_supernet --config configs/imagenet.yml --save imagenet
#   sbatch scripts/slurm_train.sh train_few_shot --config configs/imagenet.yml --save imagenet --phase=3_from_2 few_shot.lr=0.002
#   sbatch scripts/slurm_train.sh cream.search --config configs/cream_search.yml --save cream
#
# Jobs of this name run one after another, so all phases may be submitted at once; --phase=3_from_2 refuses to begin
# where phase 2 has failed. A job that ran out of time goes on when it is submitted again, also with other --nodes.
#SBATCH --job-name=fewshot_nas
#SBATCH --dependency=singleton
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=2-00:00:00
#SBATCH --requeue
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch scripts/slurm_train.sh COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
command=$1
shift
export PATH="$PWD/.venv/bin:$PATH"
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# Since Slurm 22.05 srun does not take over how many processors a task has.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc_per_node="$SLURM_GPUS_ON_NODE" \
    --rdzv_backend=c10d --rdzv_endpoint="${hosts[0]}:29500" --rdzv_id="$SLURM_JOB_ID" \
    -m "fewshot_nas.$command" "$@"
