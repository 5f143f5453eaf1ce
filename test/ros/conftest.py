"""A node with the real embedded model, a camera and a person on real DDS, in a domain of this test process alone."""

import contextlib
import itertools
import os
import subprocess
import sys

import pytest

os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
NUMBERS = itertools.count()
collect_ignore = []
try:
    import rclpy
except ImportError:  # the core's tests run without ROS; of these only the session's can
    collect_ignore = [name for name in os.listdir(os.path.dirname(__file__))
                      if name.startswith("test_")
                      and name not in ("test_session.py", "test_session_fuzz.py", "test_visualization.py")]


@pytest.fixture(scope="session")
def ros():
    """rclpy, for the whole run."""
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@pytest.fixture(scope="session")
def embedded_engine(ros):
    """The embedded model, read once."""
    from clue_ros.ros.node import load_engine
    from clue_ros.ros.parameters import TABLE, Settings
    engine = load_engine(Settings(**{row.name: row.default for row in TABLE} | {"device": "cpu"}))
    own = engine.threshold
    yield lambda settings, tell: engine
    engine.threshold = own


@pytest.fixture
def stage(ros):
    """A function that sets up a `Stage`; it is taken down after the test."""
    from company import Stage
    with contextlib.ExitStack() as stages:  # one that cannot be taken down does not keep the others up
        def build(load, **parameters):
            made = Stage(load, **parameters)
            stages.callback(made.close)
            return made
        yield build


@pytest.fixture
def company(ros):
    """A function that sets up a `Company` in a namespace, for a node in a process of its own."""
    from company import Company
    with contextlib.ExitStack() as companies:
        def build(namespace, **options):
            made = Company(namespace, **options)
            companies.callback(made.close)
            return made
        yield build


@pytest.fixture
def namespace():
    """One of this test's own: a killed node haunts its namespace for a while."""
    return f"/process{next(NUMBERS)}"


@pytest.fixture
def run_node(namespace):
    """A function that starts a node in the namespace; it is killed after the test."""
    with contextlib.ExitStack() as running:
        def start(*arguments, code=("-m", "clue_ros.ros.node")):
            process = running.enter_context(subprocess.Popen(
                [sys.executable, *code, "--ros-args", "-r", f"__ns:={namespace}", *arguments], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, start_new_session=True))
            running.callback(process.kill)
            return process
        yield start


@pytest.fixture(scope="session")
def script():
    """The demo's steps: ambiguous, clear, ambiguous, clear."""
    from clue_ros.ros.pictures import demo_folder
    from clue_ros.ros.script import read_script
    return read_script(demo_folder())


@pytest.fixture
def clear(script):
    """The demo's first step that a robot must not ask about."""
    return next(step for step in script if step.expect == "box")


@pytest.fixture
def ambiguous(script):
    """The demo's first step that it must ask about."""
    return next(step for step in script if step.expect == "question")
