"""A node with the real embedded model, a camera and a person on real DDS, in a domain of this test process alone."""

import itertools
import os
import threading
import time

import pytest

os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
collect_ignore = []
try:
    import rclpy
except ImportError:  # the core's tests run without ROS; of these only the session's can
    collect_ignore = [name for name in os.listdir(os.path.dirname(__file__))
                      if name.startswith("test_") and name not in ("test_session.py", "test_visualization.py")]


class Stage:
    """Nodes that talk to each other, in a namespace of their own."""

    _names = itertools.count()

    def __init__(self, load, **parameters):
        from rcl_interfaces.msg import Log
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from clue_ros.ros.camera import Camera
        from clue_ros.ros.demo import Spectator
        from clue_ros.ros.node import ClueNode
        self.namespace = f"/stage{next(self._names)}"
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = ClueNode(load, namespace=self.namespace, parameter_overrides=overrides)
        self.person = Spectator(namespace=self.namespace)
        self.camera = Camera(manual=True, namespace=self.namespace)
        self.log = []
        self.person.create_subscription(Log, "/rosout", self._keep, 100)
        self.heard = []
        self.executor = SingleThreadedExecutor()
        for node in (self.node, self.person, self.camera):
            self.executor.add_node(node)
        self._open = True
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()
        assert self.person.wait_for_node(20.0)

    def _spin(self):
        while self._open:
            self.executor.spin_once(timeout_sec=0.05)

    def _keep(self, msg):
        if msg.name.startswith(self.namespace[1:]):
            self.log.append(msg.msg)

    def close(self):
        """End the threads, then the nodes."""
        assert self.node.close(5.0)
        self._open = False
        self._thread.join()
        for node in (self.node, self.person, self.camera):
            node.destroy_node()

    def show(self, picture):
        """Point the camera at a picture and let a few frames of it arrive."""
        self.camera.show(picture.rgb)
        self.until(lambda: self.node.session.newest is not None and self.node.session.newest.image.data[:3000:7]
                   == self.camera._message.data[:3000:7])

    def hear(self, kind, seconds=30.0):
        """The next message of that type; everything that came stays in `heard`, in order."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = self.person.listen(0.1)
            if message is not None:
                self.heard.append(message)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} in {seconds} s; heard {self.heard}, log {self.log}")

    def rest(self, seconds=0.5):
        """What still comes until nothing does for that long: topics are not ordered among each other."""
        return list(iter(lambda: self.person.listen(seconds), None))

    def until(self, condition, seconds=10.0):
        """Wait for the condition to hold."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s; log {self.log}"
            time.sleep(0.02)

    def logged(self, words, seconds=5.0):
        """Wait for a log line that holds the words."""
        self.until(lambda: any(words in line for line in self.log), seconds)


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
    engine = load_engine(Settings(**{row.name: row.default for row in TABLE}))
    own = engine.threshold
    yield lambda settings: engine
    engine.threshold = own


@pytest.fixture
def stage(ros):
    """A function that sets up a `Stage`; it is taken down after the test."""
    stages = []

    def build(load, **parameters):
        stages.append(Stage(load, **parameters))
        return stages[-1]
    yield build
    for each in stages:
        each.close()


@pytest.fixture(scope="session")
def script():
    """The demo's steps: ambiguous, clear, ambiguous, clear."""
    from clue_ros.ros.pictures import demo_folder
    from clue_ros.ros.script import read_script
    return read_script(demo_folder())
