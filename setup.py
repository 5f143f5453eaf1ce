"""Packages the ROS-free core; see setup.cfg. The ROS 2 package is built by CMakeLists.txt."""

from pathlib import Path

from setuptools import setup

# The same place as in a ROS 2 installation: PREFIX/share/clue_ros/resource/models/...
models = {}
for path in sorted(Path("resource/models").rglob("*")):
    if path.is_file():
        models.setdefault(f"share/clue_ros/{path.parent.as_posix()}", []).append(path.as_posix())

setup(data_files=sorted(models.items()))
