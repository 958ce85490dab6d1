#!/usr/bin/env bash
# Installs the project into .venv and runs what it can do so far: make a pool of archs and check it.
source "$(dirname "$0")/environment.sh"

[ $# -eq 0 ] || fail "expected no options, got $*"

step() {
    echo "\$ $*"
    "$@" || fail "this step failed: $*"
}

install ""
step python -m fewshot_nas
step python -m fewshot_nas.make_pool --size 1000 --out results/quickstart/pool
step python -m fewshot_nas.make_pool --check results/quickstart/pool
