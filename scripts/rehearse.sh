#!/usr/bin/env bash
# Rehearses the recipe of docs/imagenet.md and both scripts for Slurm on this machine before a week of GPU time: every
# line, with the real configuration, image size, pool and eight parts. Only epochs, images and archs are cut. Slurm and
# the machines beside this one are stood in for by processes here. It ends with a table of what each line took, and an
# estimate of the whole recipe's hours on these devices.
#
#   scripts/rehearse.sh                                        two processes, generated photographs
#   DATA=data/imagenet PROCESSES=8 IMAGES=4096 ARCHS=128 scripts/rehearse.sh     your own lists, eight GPUs
#   scripts/rehearse.sh configs/imagenet.yml data.stored_side=256                another configuration, other settings
#
# IMAGES are the training images of all processes together. Everything lies in results/rehearsal, which is begun anew.
set -euo pipefail

usage() {
    echo "usage: [DATA=DIR] [PROCESSES=N] [IMAGES=N] [ARCHS=N] scripts/rehearse.sh [CONFIG] [SECTION.KEY=VALUE ...]" >&2
    exit 2
}

case "${1:-}" in -*) usage ;; esac
export PATH="$PWD/.venv/bin:$PATH"
export REHEARSAL="$PWD/scripts/rehearsal.py"

# The programs of the page's lines: each is started with what is cut, and measured.
python() { command python "$REHEARSAL" run python "$@"; }
torchrun() { command python "$REHEARSAL" run torchrun "$@"; }
sbatch() { command python "$REHEARSAL" run sbatch "$@"; }
srun() { while [[ $1 == --* ]]; do shift; done; "$@"; }
scontrol() { echo localhost; }
export -f python torchrun sbatch srun scontrol

place=$(command python "$REHEARSAL" prepare "$@")
blocks="1 2 3 4"
if ! command python -c "import ray" 2> /dev/null; then
    echo "rehearse.sh: Ray is not installed, so its line is left out" >&2
    blocks="1 2 3"
fi
for number in $blocks; do
    cd "$place/$number"
    lines=$(command python "$REHEARSAL" lines "$number")
    bash -euo pipefail -c "$lines"
done
cd "$place"
command python "$REHEARSAL" table
