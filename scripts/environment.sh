# Sourced by the other scripts: moves to the project's root and installs into .venv there.
#
#   install EXTRAS    e.g. install '[dev]'; does nothing when that was done for this pyproject.toml
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

install() {
    local extras=$1 stamp
    if [ ! -x .venv/bin/pip ]; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 >= 3.10 is needed"
        # Without python3-venv Debian leaves half an environment behind, which the next run would take for a whole one.
        python3 -m venv .venv || { rm -rf .venv; fail "cannot make .venv (on Debian: apt install python3-venv)"; }
    fi
    # An interrupted installation leaves no stamp, so the next run takes it up again.
    stamp=".venv/installed-$extras"
    if ! cmp -s pyproject.toml "$stamp"; then
        .venv/bin/python -m pip install --quiet --editable ".$extras" || fail "the installation failed; see pip's message above"
        cp pyproject.toml "$stamp"
    fi
    export PATH="$PWD/.venv/bin:$PATH"
}
