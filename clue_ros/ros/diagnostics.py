"""`/diagnostics`, once a second: the model, the camera, and how requests end. A camera's trouble also goes to the log, once.

    ros2 topic echo /diagnostics
    ros2 run rqt_robot_monitor rqt_robot_monitor     (or any other tool that knows diagnostic_msgs)
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
import psutil
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType

from clue_ros.ros.inputs import Inputs
from clue_ros.ros.lifecycle import ManagedNode
from clue_ros.ros.model_topic import ModelTopic
from clue_ros.ros.place import Place
from clue_ros.ros.qos import RELIABLE
from clue_ros.ros.request import Event, Finished, Looked, Outcome, Phase, Snapshot
from clue_ros.ros.session import Session
from clue_ros.ros.target import Target
from clue_ros.ros.words import OnChange
from clue_ros.ros.worker import Desk, Worker

GRACE = 5.0  # seconds that a camera may take to come up before its absence is trouble
SLOW = 10.0  # seconds of one look that are worth a warning
SPAN = 5.0  # seconds over which the camera's rate is taken
FRESH = 60.0  # seconds for which the last request's error is a warning
WINDOW = 200  # looks that the percentiles are of
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class Tally:
    """What happened so far. Pure: no ROS; times in seconds of one monotonic clock.

    received: pictures that came; looked_at: those of them that were looked at; arrivals: when the last ones came.
    milliseconds: of the last looks. outcomes: of all requests; last: of the last one; error, error_at: of the last one that
    ended in an error.
    """

    received: int = 0
    looked_at: int = 0
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    last: Outcome | None = None
    error: str = ""
    error_at: float = 0.0
    _newest_look: Snapshot | None = None

    def saw(self, snapshot: Snapshot) -> None:
        """A picture came."""
        self.received += 1
        self.arrivals.append(snapshot.received)

    def happened(self, event: Event, now: float) -> None:
        """Something a session tells of."""
        if isinstance(event, Looked):
            self.milliseconds.append(event.milliseconds)
        if isinstance(event, Finished):
            self.outcomes[event.outcome] += 1
            self.last = event.outcome
            if event.outcome is Outcome.ERROR:
                self.error, self.error_at = event.error, now
        if isinstance(event, Looked | Finished) and event.request.last.snapshot not in (None, self._newest_look):
            self._newest_look = event.request.last.snapshot
            self.looked_at += 1

    def dropped(self, session: Session) -> int:
        """Pictures that were not looked at and never will be, since a newer one came."""
        request = session.request
        looking = request.looking_at if request is not None and request.phase is Phase.LOOKING else None
        pending = {snapshot for snapshot in (session.newest, looking) if snapshot not in (None, self._newest_look)}
        return max(0, self.received - self.looked_at - len(pending))

    def rate(self, now: float) -> float:
        """Pictures a second, of late."""
        return sum(now - arrival <= SPAN for arrival in self.arrivals) / SPAN

    def percentile(self, percent: float) -> float:
        """Milliseconds of a look; NaN before the first."""
        return float(np.percentile(self.milliseconds, percent)) if self.milliseconds else float("nan")


class Diagnostics:
    """Reports about a node: its model, then each of its cameras and what became of the requests about it."""

    def __init__(self, node: ManagedNode, model: ModelTopic, worker: Worker, cameras: list[CameraHealth]):
        self._node, self._topic, self._worker, self._cameras, self._process = node, model, worker, cameras, psutil.Process()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        node.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _report(self) -> None:
        message = DiagnosticArray(status=[self._model(), *(part for camera in self._cameras for part in camera.report())])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _model(self) -> DiagnosticStatus:
        state, known, failure = self._node.state, self._topic.known, self._topic.failure
        level, text = {
            "active": (OK, "the model is ready"), "inactive": (OK, "the model is loaded, the node is not active"),
            "configuring": (WARN, "the model is loading"), "unconfigured": (WARN, "no model is loaded"),
        }.get(state, (WARN, f"the node is {state}"))
        if state == "unconfigured" and failure:
            level, text = ERROR, failure
        if (looking := self._worker.looking_for) > SLOW:
            level, text = WARN, f"a look has been going on for {looking:.0f} s, and every camera's next one waits for it"
        values = {"state": state, "memory of the process [MB]": f"{self._process.memory_info().rss / 1e6:.0f}"}
        if known is not None:
            values |= {"model": known.model, "device": known.device, "dtype": known.dtype}
            if known.device.startswith("cuda"):
                cuda = sys.modules["torch"].cuda
                values |= {"memory of the GPU in use [MB]": f"{cuda.memory_allocated(known.device) / 1e6:.0f}",
                           "memory of the GPU held [MB]": f"{cuda.memory_reserved(known.device) / 1e6:.0f}"}
        return _status(self._node, "model", level, text, values)


class CameraHealth:
    """Watches a camera and the requests about it; a camera's trouble also goes to the log, once. target: of a camera with
    depth."""

    def __init__(self, place: Place, desk: Desk, inputs: Inputs, target: Target | None = None):
        self._place, self._desk, self._session, self._inputs, self._target = place, desk, desk.session, inputs, target
        self._tally, self._words = Tally(), OnChange(place.log)
        self._open_since: float | None = None
        inputs.watchers.append(self._tally.saw)

    def tell(self, event: Event) -> None:
        """Count one event of the session."""
        self._tally.happened(event, time.monotonic())

    def report(self) -> list[DiagnosticStatus]:
        """How the camera does, and the requests."""
        parts = self._desk.read(lambda now: [self._camera(now), self._requests(now)])
        if self._target is not None:
            refusal = self._target.refusal
            parts.append(self._status("target", WARN if refusal else OK, refusal or "no target was refused", {}))
        return parts

    def _camera(self, now: float) -> DiagnosticStatus:
        level, text = self._judge_camera(now)
        tally, newest = self._tally, self._session.newest
        return self._status("camera", level, text, {
            "topic": self._inputs.image_topic, "rate [Hz]": f"{tally.rate(now):.1f}",
            "age of the newest image [s]": f"{newest.age(now):.2f}" if newest is not None else "no image",
            "images received": tally.received, "images looked at": tally.looked_at,
            "images dropped for a newer one": tally.dropped(self._session)})

    def _judge_camera(self, now: float) -> tuple[bytes, str]:
        """Level and sentence; a new trouble, and its end, also go to the log."""
        if not self._inputs.listening:
            self._open_since = None
            self._words.clear("camera")
            return OK, "the node does not listen while it is not active"
        if self._open_since is None:
            self._open_since = now
        trouble = self._session.trouble(now) or self._silence(now)
        if not trouble:
            self._words.clear("camera", f"images come on {self._inputs.image_topic}")
            return (WARN, self._inputs.unusable) if self._inputs.unusable else (OK, "images come")
        if self._session.newest is None and now - self._open_since < GRACE:
            return OK, "waiting for the first image"
        self._words.warn("camera", trouble)
        return WARN, trouble

    def _silence(self, now: float) -> str:
        """That nothing comes any more, where images of any age are looked at."""
        newest = self._session.newest
        silent = now - newest.received if newest is not None else 0.0
        return f"the last image came {silent:.0f} s ago; it is looked at all the same, since max_frame_age is 0" if (
            silent > GRACE and self._session.limits.max_frame_age == 0) else ""

    def _requests(self, now: float) -> DiagnosticStatus:
        tally, request = self._tally, self._session.request
        failed = tally.last is Outcome.ERROR and now - tally.error_at < FRESH  # then it is history, told in "last error"
        text = f"the last request failed: {tally.error}" if failed else f"{tally.outcomes.total()} requests so far"
        deaf = self._inputs.deaf
        values = {"running": request.phase.value if request is not None else "none"}
        values |= {outcome.name.lower().replace("_", " "): tally.outcomes[outcome] for outcome in Outcome}
        values |= {f"a look, p{percent} [ms]": f"{tally.percentile(percent):.1f}" for percent in (50, 95)}
        values["last error"] = f"{now - tally.error_at:.0f} s ago: {tally.error}" if tally.error else "none"
        return self._status("requests", WARN if failed or deaf else OK, "; ".join(filter(None, (deaf, text))), values)

    def _status(self, part: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
        return _status(self._place.node, self._place.topic(part), level, text, values)


def _status(node: ManagedNode, part: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
    name = node.get_fully_qualified_name().lstrip("/")
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=f"{name}: {part}", message=text, hardware_id=name, values=pairs)
