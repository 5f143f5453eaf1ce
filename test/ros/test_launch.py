"""The launch files, run by the real thing; skipped where launch_ros is missing (it is not among the ROS wheels)."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter_client import AsyncParameterClient
from std_msgs.msg import String

pytest.importorskip("launch_ros")
from launch import LaunchService  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

from clue_ros.msg import GroundedObject  # noqa: E402
from clue_ros.ros.person import Person  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
path, *pairs = sys.argv[1:]
arguments = [tuple(pair.split(":=")) for pair in pairs]
service = LaunchService()
service.include_launch_description(LaunchDescription(
    [IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=arguments)]))
sys.exit(service.run())
"""


@contextlib.contextmanager
def launched(file, *arguments):
    """`ros2 launch` of a launch file with these arguments; Ctrl-C ends it, and must end everything it started."""
    command = [sys.executable, "-c", LAUNCHER, str(ROOT / "launch" / file), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # as Ctrl-C; on SIGTERM launch would leave its nodes behind
        output, _ = process.communicate(timeout=20)
    started, ended = (output.count(words) for words in ("process started with pid", "process has finished cleanly"))
    assert started == ended > 0 and "Traceback" not in output, output


@pytest.fixture
def person(ros):
    """A function that makes a person in a namespace; its executor is `person.executor`."""
    people = {}  # with their executors, which a node itself does not keep alive

    def make(namespace):
        one, executor = Person(namespace=namespace), SingleThreadedExecutor()
        executor.add_node(one)
        people[one] = executor
        return one
    yield make
    for one in people:
        one.destroy_node()


def test_arguments_reach_the_node(person, tmp_path):
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"instruction_timeout": 0.2, "model": "unused"}}}))
    person = person("/launched")
    with launched("clue.launch.py", "namespace:=launched", "image:=/cam/color", "depth:=/cam/depth",
                  "camera_info:=/cam/info", "model:=tabletop", "enclave:=/clue_ros/clue_node",
                  f"params_file:={parameters}") as process:
        assert person.wait_for_node(60.0)
        end, remapped = time.monotonic() + 20.0, {"/cam/color", "/cam/depth", "/cam/info"}
        while remapped - {name for name, _ in person.get_topic_names_and_types()}:
            assert time.monotonic() < end
            time.sleep(0.05)
        asked = AsyncParameterClient(person, "/launched/clue_node").get_parameters(["model", "instruction_timeout", "depth"])
        person.executor.spin_until_future_complete(asked, timeout_sec=20.0)
        model, timeout, depth = asked.result().values
        assert (model.string_value, timeout.double_value, depth.bool_value) == ("tabletop", 0.2, True)
        person.say("the red mug")
        message = None
        while not isinstance(message, GroundedObject):
            person.executor.spin_once(timeout_sec=0.1)
            message = person.heard.get() if person.heard.qsize() else None
            assert process.poll() is None
        assert ("clue_node", "/launched", "/clue_ros/clue_node") in person.get_node_names_and_namespaces_with_enclaves()
        assert message.error.startswith("no image on topic /cam/color: nobody publishes it")


def test_switches_reach_the_node_in_its_namespace(person):
    """`depth:=true` is the parameter, no topic of that name; the log level is that of the namespace's logger."""
    person = person("/launched")
    with launched("clue.launch.py", "namespace:=launched", "depth:=True", "use_sim_time:=true", "autostart:=false",
                  "rectified:=true", "dtype:=float32", "log_level:=debug", "instruction:=/asr/text", "answer:=/asr/text",
                  "speech:=/tts/say") as process:
        client = AsyncParameterClient(person, "/launched/clue_node")
        assert client.wait_for_services(60.0)
        asked = client.get_parameters(["depth", "use_sim_time", "autostart", "rectified", "dtype"])
        person.executor.spin_until_future_complete(asked, timeout_sec=20.0)
        *switches, dtype = asked.result().values
        assert [value.bool_value for value in switches] == [True, True, False, True] and dtype.string_value == "float32"
        topics = {name for name, _ in person.get_topic_names_and_types()}
        assert {"/launched/depth", "/asr/text", "/tts/say"} <= topics and not {"/launched/true", "/true"} & topics
        words = [word for child in psutil.Process(process.pid).children(recursive=True) for word in child.cmdline()]
        assert "launched.clue_node:=debug" in words


def test_a_topic_of_one_camera_beside_several_is_refused():
    process = subprocess.run([sys.executable, "-c", LAUNCHER, str(ROOT / "launch" / "clue.launch.py"), "cameras:=front,wrist",
                              "depth:=/depth"], capture_output=True, text=True, timeout=60)
    said = process.stdout + process.stderr
    assert process.returncode and "cameras:= names several cameras, and depth:= a topic of one" in said


def test_a_node_for_each_robot_with_two_cameras_each(person):
    one, two = person("/robot1/front"), person("/robot2/wrist")
    with launched("robots.launch.py", "robots:=robot1, robot2", "threads:=1", "cameras:=[front=cam/color, wrist]"):
        assert one.wait_for_node(60.0) and two.wait_for_node(60.0)
        end = time.monotonic() + 60.0
        while not {("clue_node", "/robot1"), ("clue_node", "/robot2")} <= set(one.get_node_names_and_namespaces()):
            assert time.monotonic() < end
            one.executor.spin_once(timeout_sec=0.1)
        for robot in ("/robot1", "/robot2"):
            topics = {name for name, _ in one.get_subscriber_names_and_types_by_node("clue_node", robot)}
            assert {f"{robot}/cam/color", f"{robot}/wrist/image", f"{robot}/front/instruction"} <= topics
            asked = AsyncParameterClient(one, f"{robot}/clue_node").get_parameters(["threads", "cameras"])
            one.executor.spin_until_future_complete(asked, timeout_sec=20.0)
            threads, cameras = asked.result().values
            assert (threads.integer_value, list(cameras.string_array_value)) == (1, ["front", "wrist"])


def test_the_demo_brings_a_camera_that_is_seen(person):
    person = person("")
    with launched("demo.launch.py") as process:
        assert person.wait_for_node(60.0)
        person.say("the red mug")
        message = None
        while not isinstance(message, (GroundedObject, String)):
            person.executor.spin_once(timeout_sec=0.1)
            message = person.heard.get() if person.heard.qsize() else None
            assert process.poll() is None
        assert isinstance(message, String) or not message.error  # a question or a box: the picture has come


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.launch.py")), ids=lambda path: path.name)
def test_launch_file_describes_its_arguments(path):
    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchService().context)
    arguments = {a.name: a.description for a in description.get_launch_arguments()}
    made_up = ("no description given", "One of: ")  # by launch
    assert arguments and not [name for name, text in arguments.items() if text.startswith(made_up)]
