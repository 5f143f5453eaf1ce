"""The launch file, run by launch_testing: node and camera come up, an instruction ends in its object, all end cleanly.

    pytest test/launch        skipped where ROS lacks launch_testing or launch_ros (neither is among the ROS wheels)
"""

import tempfile
import time
import unittest
from pathlib import Path

import cv2
import pytest

launch_testing = pytest.importorskip("launch_testing")
pytest.importorskip("launch_ros")
import launch_testing.actions  # noqa: E402
import launch_testing.asserts  # noqa: E402
import rclpy  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_ros.actions import Node  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from clue_ros.msg import GroundedObject  # noqa: E402
from clue_ros.ros.conversions import box_from_message  # noqa: E402
from clue_ros.ros.person import Person  # noqa: E402
from clue_ros.ros.pictures import demo_folder  # noqa: E402
from clue_ros.ros.script import BOX, read_script  # noqa: E402

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "clue.launch.py"
SPACE = "/launched"
STEP = next(step for step in read_script(demo_folder()) if step.expect == BOX)
FOLDER = tempfile.TemporaryDirectory()  # it goes with this module
SMALL = 0.5  # of the picture: between processes a large one, sent with best effort, may get lost for long


@pytest.mark.launch_test
@launch_testing.parametrize("autostart", ["true", "false"])
def generate_test_description(autostart):
    """The node as `ros2 launch` starts it, and a camera that shows one picture."""
    picture = Path(FOLDER.name) / "picture.png"
    cv2.imwrite(str(picture), cv2.resize(STEP.picture.rgb[..., ::-1], None, fx=SMALL, fy=SMALL))
    node = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LAUNCH)), launch_arguments=[
        ("namespace", SPACE[1:]), ("image", "camera/color"), ("autostart", autostart)])
    camera = Node(package="clue_ros", executable="clue_camera", namespace=SPACE, output="screen",
                  remappings=[("image", "camera/color")], parameters=[{"source": str(picture), "hold": 0.0}])
    return LaunchDescription([node, camera, launch_testing.actions.ReadyToTest()])


class WhileItRuns(unittest.TestCase):
    """One person, in a ROS context of its own: other tests of this process may have one, too."""

    def setUp(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.person = Person(namespace=SPACE, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.person)

    def tearDown(self):
        self.person.destroy_node()
        rclpy.shutdown(context=self.context)

    def until(self, condition, seconds=60.0):
        """Wait for the condition to hold."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s"
            self.executor.spin_once(timeout_sec=0.1)

    def test_an_instruction_ends_in_its_object(self, proc_output, autostart):
        self.until(self.person.connected)
        if autostart == "false":
            change = self.person.create_client(ChangeState, "clue_node/change_state")
            self.until(change.service_is_ready)
            for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                done = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
                self.until(done.done, 120.0)
                self.assertTrue(done.result().success)
        proc_output.assertWaitFor("say what to look for on /launched/instruction", timeout=120, stream="stderr")
        proc_output.assertWaitFor("showing picture.png", timeout=30, stream="stderr")
        self.person.say(STEP.say)
        heard = []
        self.until(lambda: heard.extend(iter(lambda: self.person.listen(0), None)) or heard and isinstance(
            heard[-1], GroundedObject))
        end = heard[-1]
        self.assertEqual((end.outcome, end.error), (GroundedObject.OUTCOME_GROUNDED, ""))
        box = box_from_message(end.box)
        truth = STEP.picture.box(STEP.target)
        self.assertGreaterEqual(type(box)(*(v / SMALL for v in (box.x1, box.y1, box.x2, box.y2))).iou(truth), 0.5)


@launch_testing.post_shutdown_test()
class WhenItHasEnded(unittest.TestCase):
    """After the SIGINT that launch sends."""

    def test_every_process_ended_cleanly(self, proc_info, proc_output):
        self.assertEqual(len(list(proc_info)), 2)
        launch_testing.asserts.assertExitCodes(proc_info)
        printed = "".join(chunk.text.decode() for chunk in proc_output)
        self.assertIn("say what to look for", printed)
        self.assertNotIn("Traceback", printed)
