"""The launch files, run by the real thing; skipped where launch_ros is missing (it is not among the ROS wheels)."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter_client import AsyncParameterClient

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


def test_arguments_reach_the_node(ros, tmp_path):
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"instruction_timeout": 0.2, "model": "unused"}}}))
    command = [sys.executable, "-c", LAUNCHER, str(ROOT / "launch" / "clue.launch.py"), "namespace:=launched",
               "image:=/cam/color", "model:=tabletop", f"params_file:={parameters}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)
    person = Person(namespace="/launched")
    executor = SingleThreadedExecutor()
    executor.add_node(person)
    try:
        assert person.wait_for_node(60.0)
        assert [name for name, _ in person.get_topic_names_and_types() if name == "/cam/color"]
        asked = AsyncParameterClient(person, "/launched/clue_node").get_parameters(["model", "instruction_timeout"])
        executor.spin_until_future_complete(asked, timeout_sec=20.0)
        assert [asked.result().values[0].string_value, asked.result().values[1].double_value] == ["tabletop", 0.2]
        person.say("the red mug")
        message = None
        while not isinstance(message, GroundedObject):
            executor.spin_once(timeout_sec=0.1)
            message = person.heard.get() if person.heard.qsize() else None
            assert process.poll() is None
        assert message.error.startswith("no image on topic /cam/color: nobody publishes it")
    finally:
        process.send_signal(signal.SIGINT)  # as Ctrl-C; on SIGTERM launch would leave its nodes behind
        output, _ = process.communicate(timeout=20)
        person.destroy_node()
    assert "process has finished cleanly" in output and "Traceback" not in output


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.launch.py")), ids=lambda path: path.name)
def test_launch_file_describes_its_arguments(path):
    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchService().context)
    arguments = {a.name: a.description for a in description.get_launch_arguments()}
    assert "rviz" in arguments and all(arguments.values())
