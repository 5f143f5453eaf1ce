"""What the node tells the world: its topics out, and the log. Pure conversions of a session's events are at the end."""

from __future__ import annotations

from rclpy.duration import Duration
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject, Question
from clue_ros.ros import conversions
from clue_ros.ros.place import Place
from clue_ros.ros.qos import LATCHED, RELIABLE
from clue_ros.ros.request import Answered, Asked, Event, Finished, Look, Looked, Note, Outcome, Request
from clue_ros.ros.visualization import overlay
from clue_ros.types import Decision, Frame


class Outputs:
    """The publishers. All but `grounding` are silent while the node is not active: that one tells why it refuses."""

    def __init__(self, place: Place):
        node, topic, self._log = place.node, place.topic, place.log
        self._grounding = node.create_publisher(GroundedObject, topic("grounding"), LATCHED)
        self._speech = node.create_lifecycle_publisher(String, topic("speech"), RELIABLE)
        self._open = node.create_lifecycle_publisher(Question, topic("question"), LATCHED)
        self._heatmap = node.create_lifecycle_publisher(AmbiguityHeatmap, topic("heatmap"), LATCHED)
        self._picture = node.create_lifecycle_publisher(Image, topic("heatmap/image"), LATCHED)

    def tell(self, event: Event) -> None:
        """Publish and log one event of the session."""
        _TELL[type(event)](self, event)

    def show(self, look: Look, frame: Frame, decision: Decision, alpha: float) -> None:
        """Publish the overlay of a look; alpha: of the hottest cell, 0..1."""
        picture = overlay(frame.rgb, decision, look.dialog.prompt, alpha)
        self._picture.publish(conversions.image_from_rgb(picture, look.snapshot.image.header))

    def flush(self, seconds: float) -> None:
        """Wait until the listeners have every outcome, but no longer than that."""
        self._grounding.wait_for_all_acked(Duration(seconds=seconds))

    def _verdict(self, event: Looked) -> None:
        self._heatmap.publish(verdict_message(event.request))

    def _question(self, event: Asked) -> None:
        self._log.info(f"request {event.request.identity} asks: {event.question}")
        self._speech.publish(String(data=event.question))
        self._open.publish(question_message(event.request, event.question))

    def _answered(self, event: Answered) -> None:
        self._open.publish(question_message(event.request, ""))

    def _outcome(self, event: Finished) -> None:
        if event.request.dialog is not None and event.request.dialog.open_question is not None:
            self._open.publish(question_message(event.request, ""))
        text = f"request {event.request.identity} ended: {event.outcome.name.lower().replace('_', ' ')}"
        if event.outcome is Outcome.ERROR:
            self._log.error(f"{text}: {event.error}")
        else:
            self._log.info(text)
        self._grounding.publish(grounded_message(event))

    def _note(self, note: Note) -> None:
        if note.warning:
            self._log.warning(note.text)
        else:
            self._log.info(note.text)


_TELL = {Looked: Outputs._verdict, Asked: Outputs._question, Answered: Outputs._answered, Finished: Outputs._outcome, Note: Outputs._note}


def verdict_message(request: Request) -> AmbiguityHeatmap:
    """What the detector made of the request's last look; ask only while that look's question is not answered."""
    seen = request.seen
    return conversions.heatmap_message(
        seen.decision.ambiguity, header=seen.snapshot.image.header, request_id=request.identity,
        instruction=request.instruction, turn=request.dialog.turns, size=seen.size)


def question_message(request: Request, text: str) -> Question:
    """The last look's question, or, with no text, that it is not open any more."""
    return Question(header=request.seen.snapshot.image.header, request_id=request.identity, instruction=request.instruction,
                    turn=request.dialog.turns, text=text)


def grounded_message(event: Finished) -> GroundedObject:
    """The one message an instruction ends in; header and size are those of the last image that was looked at."""
    request, seen = event.request, event.request.last
    message = GroundedObject(
        header=seen.snapshot.image.header if seen.snapshot else Header(), request_id=request.identity,
        instruction=request.instruction, outcome=event.outcome.value, error=event.error,
        image_width=seen.size[0], image_height=seen.size[1], questions_asked=request.questions,
        dialog=request.spoken, latency_ms=request.milliseconds)
    if seen.decision is not None:
        message.candidates = conversions.candidate_messages(seen.decision.ambiguity.candidates)
    if event.grounding is not None:
        message.box = conversions.box_message(event.grounding.box, event.grounding.score)
        message.score, message.label = float(event.grounding.score), event.grounding.label
    return message
