"""The command that measures what cameras cost, on its smallest case."""

import re
import subprocess
import sys
from pathlib import Path

from clue_ros.ros.cost import HEAD

PAGE = Path(__file__).resolve().parents[2] / "docs" / "several-cameras.md"


def test_two_cameras_of_one_node():
    command = [sys.executable, "-m", "clue_ros.ros.cost", "--cameras", "2", "--nodes", "--rounds", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    head, row = done.stdout.strip().rsplit("\n", 1)
    assert head == HEAD
    figures = [float(figure) for figure in re.findall(r"[\d.]+", row)]
    assert len(figures) == head.split("\n")[0].count("|") - 1 + 2  # p50 / p95 twice
    nodes, cameras, start, rss, unshared, _, p50, p95, *_ = figures
    assert (nodes, cameras) == (1, 2) and 0 < start < 240 and 100 < unshared < rss < 4000 and 0 < p50 <= p95
    assert HEAD in PAGE.read_text(encoding="utf-8")
