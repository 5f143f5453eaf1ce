"""The soak command, for some seconds: the books it keeps are whole."""

import json
import subprocess
import sys

from clue_ros.msg import GroundedObject
from clue_ros.ros import soak
from clue_ros.ros.customer import Customer


def soaked(tmp_path, name, *options):
    """The figures of that part of the command, which must have ended well."""
    done = subprocess.run([sys.executable, "-m", "clue_ros.ros.soak", *options, "--out", str(tmp_path)], capture_output=True,
                          text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    part = json.loads((tmp_path / "soak.json").read_text())[name]
    assert json.loads(done.stdout)[name] == part
    return part


def test_two_thousand_instructions_as_fast_as_they_can_be_published(tmp_path):
    part = soaked(tmp_path, "burst", "--instructions", "2000")
    assert part["instructions by number of outcomes"] == {"1": 2001}  # and the one to begin with
    assert set(part["outcomes"]) == {"grounded", "superseded"}
    memory = part["memory [MB]"]
    assert memory["end"] <= memory["start"] + 25 and memory["end"] <= memory["middle"] + 15, memory


def test_goals_one_after_the_other(tmp_path):
    part = soaked(tmp_path, "goals", "--goals", "60")
    assert part["results"] == part["goals"] == 60 and part["instructions by number of outcomes"] == {"1": 61}
    assert part["outcomes"] == {"grounded": 61}


def test_some_seconds_of_dialogs(tmp_path):
    part = soaked(tmp_path, "dialogs", "--minutes", "0.08")
    assert part["instructions by number of outcomes"] == {"1": part["instructions"]} and part["instructions"] > 1
    assert sum(part["outcomes"].values()) == part["instructions"]
    assert part["images"]["published"] > part["images"]["lost on the way"] >= 0
    assert 0 < part["reply [ms]"]["p50"] <= part["reply [ms]"]["p99"]
    assert all(100 < megabytes < 8000 for megabytes in part["memory [MB]"].values())


def test_an_outcome_is_booked_to_its_instruction(ros):
    customer = Customer(namespace="/books")
    numbers = [customer.order(words) for words in ("the mug", " \t ", "the\nmug", "")]
    assert numbers == [0, 1, 2, 3] and not customer.settled()
    for number in (2, 0, 3, 2):
        blanks = f"{number:b}".replace("0", " ").replace("1", "\t")
        customer._on_end(GroundedObject(instruction=f"the\nmug\n{blanks}"))
    assert [len(customer.ends(number)) for number in numbers] == [1, 0, 2, 1]
    assert not customer.settled()
    customer.destroy_node()


def test_percentiles_of_nothing_and_of_something():
    assert soak.percentiles([]) == {"n": 0}
    assert soak.percentiles(list(range(101))) == {"n": 101, "p50": 50.0, "p95": 95.0, "p99": 99.0}
