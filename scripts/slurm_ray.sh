#!/usr/bin/env bash
# A command that takes --executor ray, on several machines: Slurm runs this script on the first of them. It starts Ray on
# each machine, and the command on the first one. The machines share the project's directory, from which the job
# is submitted.
#
#   sbatch --nodes=4 scripts/slurm_ray.sh test --save imagenet --split_group=7 --json_part=all --test_set=1 --epoch=17
#   sbatch --nodes=4 scripts/slurm_ray.sh train_stand_alone --config configs/imagenet.yml --save imagenet --target_arch_num=all
#
# If a machine fails, the others do its work. A job that ran out of time goes on when it is submitted again.
#SBATCH --job-name=fewshot_nas_ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=2-00:00:00
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch scripts/slurm_ray.sh COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
command=$1
shift
export PATH="$PWD/.venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000)) # jobs on one machine must not meet
address="${hosts[0]}:$port"

# Ray would count all cores and GPUs of a machine, not those of the job.
start_ray() {
    local host=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap --nodelist="$host" ray start "$@" --block \
        --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="$SLURM_GPUS_ON_NODE" &
}

trap 'kill $(jobs -p)' EXIT
start_ray "${hosts[0]}" --head --port="$port" --include-dashboard=false
until ray health-check --address="$address"; do sleep 1; done
for host in "${hosts[@]:1}"; do
    start_ray "$host" --address="$address"
done
python -m "fewshot_nas.$command" "$@" --executor=ray --address="$address"
