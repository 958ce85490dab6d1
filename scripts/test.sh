#!/usr/bin/env bash
# Installs the project with its development tools into .venv and runs every check.
#
#   scripts/test.sh           style, types, import contracts and the quick tests (minutes)
#   scripts/test.sh --all     the slow tests too
#   scripts/test.sh --ray     installs Ray, and runs only the quick tests that need it
#   scripts/test.sh --gpu     what only a GPU can show; prints a table that may be sent to the project
set -euo pipefail
source "$(dirname "$(readlink -f "$0")")/environment.sh"

case "${1:-}" in
    "") selection=(-n 2) ;; # each test has one thread
    --all) selection=(-m "not ray and not gpu") ;;
    --ray | --gpu) ;;
    *) fail "unknown option $1, expected --all, --ray, --gpu or nothing" ;;
esac
[ $# -le 1 ] || fail "expected at most one option"

if [ "${1:-}" = --ray ]; then
    install "[dev,ray]"
    exec pytest -m "ray and not slow" tests/cluster
fi

install "[dev]"
if [ "${1:-}" = --gpu ]; then
    exec pytest -m gpu tests/gpu
fi
ruff check . || fail "ruff found the mistakes above"
ruff format --check . || fail "run .venv/bin/ruff format . to lay the files above out as agreed"
mypy || fail "mypy found the type errors above"
lint-imports || fail "an import breaks a contract of pyproject.toml (above)"
pytest "${selection[@]}" || fail "tests failed (above)"

# The numerical tests once more, with the kernels of other processors.
for kernels in \
    "ATEN_CPU_CAPABILITY=default" \
    "ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2" \
    "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX512_CORE MKL_ENABLE_INSTRUCTIONS=AVX2"; do
    echo "numerical tests with $kernels"
    env $kernels pytest -n 2 -m "numeric and not slow" || fail "tests failed with $kernels (above)"
done
