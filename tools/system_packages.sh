#!/usr/bin/env bash
# Looks for the few system packages that wheels cannot replace; installs them if we are root and apt is here, else names them.
#   tools/system_packages.sh venv PYTHON    python's own venv module
#   tools/system_packages.sh build PYTHON   a C/C++ compiler and the Python headers, to build the messages
#   tools/system_packages.sh gl PYTHON      OSMesa, to render the synthetic tabletop
set -euo pipefail
python=${2:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

missing() {  # prints the apt packages that are not there
  case $1 in
    venv) "$python" -c 'import ensurepip' 2>/dev/null || echo "python$version-venv" ;;
    build)
      command -v cc >/dev/null && command -v c++ >/dev/null || echo "build-essential"
      "$python" -c 'import pathlib, sysconfig, sys
sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())' || echo "python$version-dev" ;;
    gl) "$python" -c 'import ctypes.util, sys; sys.exit(not ctypes.util.find_library("OSMesa"))' || echo "libosmesa6" ;;
    *) echo "usage: $0 venv|build|gl [PYTHON]" >&2; exit 2 ;;
  esac
}

packages=$(missing "$1" | xargs)
[[ -n $packages ]] || exit 0
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing $packages with apt"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt_install() { apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1; }
  apt_install || { apt-get update -qq >/dev/null 2>&1 && apt_install; } || true
  packages=$(missing "$1" | xargs)
  [[ -n $packages ]] || exit 0
fi
echo "missing on this system: apt install $packages" >&2
exit 1
