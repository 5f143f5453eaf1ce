#!/usr/bin/env bash
# The ROS 2 environment of this checkout, for one command or for a shell:
#   tools/ros_env.sh python -m clue_ros.ros.demo
#   source tools/ros_env.sh
# With ROS 2 wheels in .venv, those are used and nothing of another ROS. Without them, a ROS 2 that is already
# sourced stays as it is, and only this checkout is laid over it.

_clue_env() {
  local root venv site prefix
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  venv=$root/.venv
  prefix=$root/install/clue_ros
  _clue_first() {  # VARIABLE FOLDER: put it first, once
    local name=$1 rest=":${!1:-}:"
    rest=${rest//":$2:"/:}; rest=${rest#:}; rest=${rest%:}
    export "$name=$2${rest:+:$rest}"
  }

  site=$(compgen -G "$venv/lib/python3*/site-packages/rclpy" || true)
  site=${site%/rclpy}
  if [[ -n $site ]]; then
    if [[ -n ${ROS_DISTRO:-} && ${VIRTUAL_ENV:-} != "$venv" ]]; then
      unset PYTHONPATH  # another ROS's rclpy would come before ours
    fi
    export ROS_DISTRO=kilted ROS_VERSION=2 ROS_PYTHON_VERSION=3
    export RMW_IMPLEMENTATION=rmw_fastrtps_cpp AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
    export VIRTUAL_ENV=$venv
    _clue_first PATH "$venv/bin"
    local folder
    for folder in "$site"/ros_*.libs "$venv/lib"; do _clue_first LD_LIBRARY_PATH "$folder"; done
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1  # else every Python starts twice, to set LD_LIBRARY_PATH
  elif [[ -z ${ROS_DISTRO:-} ]]; then
    echo "ros_env.sh: no ROS 2 here: run 'make venv', or source an installed one first" >&2
    return 1
  fi

  if [[ -d $prefix ]]; then
    _clue_first AMENT_PREFIX_PATH "$prefix"
    _clue_first CMAKE_PREFIX_PATH "$prefix"
    _clue_first LD_LIBRARY_PATH "$prefix/lib"
    site=$(compgen -G "$prefix/lib/python3*/site-packages" || compgen -G "$prefix/local/lib/python3*/dist-packages" || true)
    if [[ -n $site ]]; then _clue_first PYTHONPATH "$site"; fi
  fi
  _clue_first PYTHONPATH "$root"  # the sources themselves, so that a new file needs no build
}

_clue_env && if [[ ${BASH_SOURCE[0]} == "$0" ]]; then exec "$@"; fi
