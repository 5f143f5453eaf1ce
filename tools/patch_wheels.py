"""Mends the CMake files of the ROS 2 wheels: .venv/bin/python tools/patch_wheels.py

They name two include folders of the machine that built them, which CMake refuses because they do not exist here.
Each is replaced by this environment's own. Running it again changes nothing.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

PYTHON_INCLUDE = re.compile(r'/opt/python/[^/";\s]+/include/python3\.\d+')
NUMPY_INCLUDE = re.compile(r'/opt/python/[^";\s]+/numpy/_core/include')


def patch(text: str) -> str:
    text = PYTHON_INCLUDE.sub(lambda _: sysconfig.get_paths()["include"], text)
    return NUMPY_INCLUDE.sub(lambda _: numpy.get_include(), text)


def main() -> None:
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        old = path.read_text()
        new = patch(old)
        if new != old:
            path.write_text(new)


if __name__ == "__main__":
    main()
