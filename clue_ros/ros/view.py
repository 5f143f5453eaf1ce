"""One camera of the node: its topics in and out, its action, its dialog. All views share the worker, and so the model."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType

from clue_ros.ros.actions import GroundAction
from clue_ros.ros.detections import Detections
from clue_ros.ros.diagnostics import CameraHealth
from clue_ros.ros.inputs import Inputs
from clue_ros.ros.lifecycle import ManagedNode
from clue_ros.ros.outputs import Outputs
from clue_ros.ros.parameters import Settings
from clue_ros.ros.place import Place
from clue_ros.ros.request import Event, Look
from clue_ros.ros.session import Session
from clue_ros.ros.target import Target
from clue_ros.ros.worker import Worker
from clue_ros.types import Decision, Frame


class View:
    """A camera by name (see `Place`), and whom its session listens to and tells. settings: the parameters' present values.

    The session is used through `desk` alone, once the node spins.
    """

    def __init__(self, node: ManagedNode, name: str, worker: Worker, settings: Callable[[], Settings]):
        place, self._settings = Place(node, name), settings
        self._log = place.log
        self.session = Session(settings().limits(), lambda: self.inputs.why_no_image())
        self.desk = worker.desk_for(self.session, publish=self._publish, present=self._present)
        self.outputs = Outputs(place)
        self.action = GroundAction(place, self.desk)
        self.inputs = Inputs(place, self.desk, compressed=settings().image_transport == "compressed")
        self.target = Target(place, self.inputs, settings) if settings().depth else None
        self.health = CameraHealth(place, self.desk, self.inputs, self.target)
        self._listeners = [self.outputs, self.action, Detections(place), *filter(None, [self.target]), self.health]
        # Not ROS time: a paused simulation must not stop the time-outs.
        node.create_timer(0.1, lambda: self.desk.handle(self.session.tick), clock=Clock(clock_type=ClockType.STEADY_TIME))

    # -- out, on any thread ------------------------------------------------------------------------------------------

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            for listener in self._listeners:
                try:
                    listener.tell(event)
                except Exception as error:  # the others must hear of it all the same: a goal waits for its outcome
                    self._log.error(f"{type(listener).__name__} could not tell of {type(event).__name__}: "
                                    f"{type(error).__name__}: {error}")

    def _present(self, look: Look, frame: Frame, decision: Decision) -> None:
        self.outputs.show(look, frame, decision, self._settings().overlay_alpha)
