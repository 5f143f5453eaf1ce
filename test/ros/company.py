"""Nodes that talk to each other on real DDS, and who manages them."""

import itertools
import threading
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Log
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from clue_ros.action import Ground
from clue_ros.msg import GroundedObject
from clue_ros.ros.camera import Camera
from clue_ros.ros.demo import Spectator
from clue_ros.ros.node import ClueNode
from clue_ros.ros.spinning import spin_some

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Company:
    """A camera and a person, in a namespace of their own, and whom else they are given. heard: everything that came, in
    order; log: what the namespace's nodes logged. name: of the camera, where a node serves several."""

    def __init__(self, namespace, *others, name="", rules=()):
        self.namespace = namespace
        below = f"{namespace}/{name}" if name else namespace
        self.person = Spectator(namespace=below, cli_args=rules)
        self.camera = Camera(manual=True, namespace=below)
        self.heard, self.log = [], []
        self.person.create_subscription(Log, "/rosout", self._keep, 100)
        self.nodes = (*others, self.person, self.camera)
        self.executor = SingleThreadedExecutor()
        for node in self.nodes:
            self.executor.add_node(node)
        # Made before the executor spins, destroyed after: in between rclpy's executor breaks on one that is half there.
        self._ground = ActionClient(self.person, Ground, "ground")
        self._open = True
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self):
        while self._open:
            spin_some(self.executor, 0.05, self.person.get_logger())

    def _keep(self, msg):
        if msg.name.startswith(self.namespace[1:] + "."):
            self.log.append(msg.msg)

    def close(self):
        """End the thread, then the nodes; once."""
        if self._open:
            self._open = False
            self._thread.join()
            self._ground.destroy()
            for node in self.nodes:
                node.destroy_node()

    def ground_client(self):
        """A client of the action, that found its server."""
        assert self._ground.wait_for_server(60.0)
        return self._ground

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


class Stage(Company):
    """A company with a clue_node in this process. view: the node's first camera, which is the company's. remapped: topics, the
    node's and the person's."""

    _names = itertools.count()

    def __init__(self, load, remapped=(), **parameters):
        namespace = f"/stage{next(self._names)}"
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        rules = ["--ros-args", *(word for rule in remapped for word in ("-r", rule))]
        self.node = ClueNode(load, namespace=namespace, parameter_overrides=overrides, cli_args=rules)
        self.view = self.node.views[0]
        super().__init__(namespace, self.node, name=self.node.settings.cameras[0], rules=rules)
        if not self.person.wait_for_node(20.0):
            self.close()  # the threads would keep pytest from ending
            raise AssertionError(f"the nodes did not find each other; log {self.log}")

    def close(self):
        """End the threads, then the nodes; once."""
        ended = not self._open or self.node.close(5.0)
        super().close()
        assert ended, f"a thread of the node goes on; log {self.log}"

    def show(self, picture):
        """Point the camera at a picture and let a few frames of it arrive."""
        self.show_on(self, self.view, picture)

    def show_on(self, company, view, picture):
        """The same for another camera of the node."""
        company.camera.show(picture.rgb)
        some = slice(None, None, 499)  # of the whole picture: twins differ in one object only
        self.until(lambda: view.session.newest is not None and view.session.newest.image.data[some]
                   == company.camera._message.data[some])


def end_of(play, text="the red mug"):
    """How an instruction ends."""
    play.person.say(text)
    return play.hear(GroundedObject)


def found(play, step):
    """Whether the node points, when it is shown the picture of a clear instruction and told it."""
    play.show(step.picture)
    return end_of(play, step.say).outcome == GroundedObject.OUTCOME_GROUNDED


class Manager:
    """Manages the company's clue_node through its services, as `ros2 lifecycle` and `ros2 param` do."""

    def __init__(self, company):
        self.company = company
        node = f"{company.namespace}/clue_node"
        self._change = company.person.create_client(ChangeState, f"{node}/change_state")
        self._get = company.person.create_client(GetState, f"{node}/get_state")
        self.parameters = AsyncParameterClient(company.person, node)
        for client in (self._change, self._get):
            assert client.wait_for_service(60.0)
        assert self.parameters.wait_for_services(60.0)

    def ask(self, transition):
        """A transition that is not waited for."""
        return self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def ask_by_label(self, label):
        """The same, by the transition's name."""
        return self._change.call_async(ChangeState.Request(transition=Transition(label=label)))

    def do(self, *transitions):
        """Whether they all succeeded, one after the other."""
        return all(self.done(self.ask(transition)).success for transition in transitions)

    def done(self, answer, seconds=60.0):
        """The answer of a service, when it is there."""
        self.company.until(answer.done, seconds)
        return answer.result()

    @property
    def state(self):
        """The name of the state, asked for by service."""
        return self.done(self._get.call_async(GetState.Request())).current_state.label

    def set(self, name, value):
        """"", or why the parameter cannot be set."""
        result, = self.done(self.parameters.set_parameters([Parameter(name, value=value)])).results
        assert result.successful == (not result.reason)
        return result.reason


def error_of(play, text="the red mug"):
    """The sentence of the error that an instruction ends in."""
    play.person.say(text)
    end = play.hear(GroundedObject)
    assert (end.outcome, end.instruction) == (GroundedObject.OUTCOME_ERROR, text)
    assert (end.box.x2, end.label) == (0.0, "")
    return end.error
