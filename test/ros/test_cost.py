"""The command that measures what cameras cost, on its smallest case."""

import re
import subprocess
import sys
from pathlib import Path

from clue_ros.devices import usable_cores
from clue_ros.ros.cost import HEAD

PAGE = Path(__file__).resolve().parents[2] / "docs" / "several-cameras.md"


def figures(*options):
    """Of the one row that the command prints."""
    command = [sys.executable, "-m", "clue_ros.ros.cost", "--nodes", "--rounds", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    head, row = done.stdout.strip().rsplit("\n", 1)
    assert head == HEAD
    found = [float(figure) for figure in re.findall(r"[\d.]+", row)]
    assert len(found) == head.split("\n")[0].count("|") - 1 + 2  # p50 / p95 twice
    return found


def test_two_cameras_of_one_node():
    nodes, cameras, start, rss, unshared, _, p50, p95, *_ = figures("--cameras", "2")
    assert (nodes, cameras) == (1, 2) and 0 < start < 240 and 100 < unshared < rss < 4000 and 0 < p50 <= p95
    assert HEAD in PAGE.read_text(encoding="utf-8")


def test_busy_programs_take_their_share_of_the_cores_and_do_not_hold_the_node_up():
    """Threads that share a step would wait, hundreds of times a look, for the one whose core is taken: for seconds."""
    *_, p50, _, _, _ = figures("--cameras", "1", "--busy", str(usable_cores()))
    assert p50 < 1500
