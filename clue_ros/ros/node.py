"""`clue_node`: camera image, instruction and answer in; question, box and heatmap out.

    ros2 run clue_ros clue_node --ros-args -r image:=/camera/color/image_raw -p model:=tabletop

The ROS executor runs on the main thread and only hands over; `worker.Worker` computes on a thread of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import rclpy
import rclpy.logging
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.ros import conversions, parameters
from clue_ros.ros.session import Asked, Event, Finished, Look, Looked, Note, Outcome, Session, Snapshot
from clue_ros.ros.visualization import overlay
from clue_ros.ros.worker import Engine, Worker
from clue_ros.types import Decision, Frame, InputError

RELIABLE = QoSProfile(depth=10)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NEWEST = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


def load_engine(settings: parameters.Settings) -> Engine:
    """The model the parameters name. Slow: imports torch and reads the weights. ModelError, InputError."""
    import torch

    from clue_ros.pipeline import Clue
    torch.set_num_threads(settings.threads or len(os.sched_getaffinity(0)))
    clue = Clue.load(settings.model, settings.device, settings.dtype, allow_download=settings.allow_download)
    clue.warm_up()
    return clue


class ClueNode(Node):
    """The node. load: makes the engine, on the inference thread. InputError for a parameter out of range."""

    def __init__(self, load: Callable[[parameters.Settings], Engine] = load_engine, **options):
        super().__init__("clue_node", automatically_declare_parameters_from_overrides=True, **options)
        self.settings = parameters.declare(self)
        self.add_post_set_parameters_callback(self._on_change)
        self.add_on_set_parameters_callback(parameters.verdict)
        self._own_threshold: float | None = None
        self._complaint = ""
        self._incompatible: dict[str, str] = {}
        self.session = Session(self.settings.limits(), self._why_no_image)
        self.worker = Worker(self.session, load=lambda: self._load(load), to_frame=conversions.frame_from_image,
                             publish=self._publish, present=self._present, before_look=self._set_threshold,
                             log=self.get_logger())
        self._speech = self.create_publisher(String, "speech", RELIABLE)
        self._grounding = self.create_publisher(GroundedObject, "grounding", LATCHED)
        self._heatmap = self.create_publisher(AmbiguityHeatmap, "heatmap", LATCHED)
        self._picture = self.create_publisher(Image, "heatmap/image", LATCHED)
        self._subscribe()
        # Not ROS time: a paused simulation must not stop the time-outs.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.1, lambda: self.worker.handle(self.session.tick), clock=steady)
        self.worker.start()

    def close(self, timeout: float = 0.5) -> bool:
        """End the running request with an error; whether the inference thread ended within `timeout` seconds."""
        ended = self.worker.stop("the node was shut down before the instruction was finished", timeout)
        self._grounding.wait_for_all_acked(Duration(seconds=0.3))
        return ended

    # -- in ----------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        compressed = self.settings.image_transport == "compressed"
        # image_transport's convention: the compressed topic lies below the (remapped) raw one.
        topic = self.resolve_topic_name("image") + "/compressed" if compressed else "image"
        self._image_topic = self._listen(CompressedImage if compressed else Image, topic, self._on_image, NEWEST)
        self._listen(String, "instruction", self._on_instruction, RELIABLE)
        self._listen(String, "answer", lambda msg: self.worker.handle(lambda now: self.session.answer(msg.data, now)),
                     RELIABLE)

    def _listen(self, kind: type, topic: str, callback: Callable, qos: QoSProfile) -> str:
        """Subscribe, and tell in words when a publisher's QoS does not fit; the topic's full name."""
        def incompatible(info: QoSRequestedIncompatibleQoSInfo) -> None:
            policy = QoSPolicyKind(info.last_policy_kind).name.lower()
            self._incompatible[name] = f"a publisher's {policy} does not fit this node's subscription"
            self.get_logger().warning(f"nothing is received on {name}: {self._incompatible[name]}; publish it "
                                      f"{qos.reliability.name.lower()} and {qos.durability.name.lower()}")
        events = SubscriptionEventCallbacks(incompatible_qos=incompatible)
        name = self.create_subscription(kind, topic, callback, qos, event_callbacks=events).topic_name
        return name

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._complain(msg)
        now, stamp = self.get_clock().now(), Time.from_msg(msg.header.stamp)
        delay = (now.nanoseconds - stamp.nanoseconds) / 1e9 if stamp.nanoseconds else 0.0
        self.worker.handle(lambda at: self.session.see(Snapshot(msg, at, delay)))

    def _complain(self, msg: Image | CompressedImage) -> None:
        """Say once what is wrong with the camera's images; they fail again, with an outcome, when one is looked at."""
        try:
            if isinstance(msg, Image):
                conversions.check_image(msg)
            self._complaint = ""
        except InputError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.get_logger().warning(f"on {self._image_topic}: {error}")

    def _on_instruction(self, msg: String) -> None:
        if not self.worker.ready.is_set():
            self.get_logger().info("the model is still loading: the instruction waits")
        self.worker.handle(lambda now: self.session.instruct(msg.data, now))

    def _why_no_image(self) -> str:
        """One sentence: why nothing came on the image topic."""
        topic = self._image_topic
        if topic in self._incompatible:
            return f"no image on topic {topic}: {self._incompatible[topic]}"
        if count := self.count_publishers(topic):
            return (f"no image on topic {topic}: {count} publisher(s) there, but nothing was received; "
                    "is the camera running?")
        kind = "sensor_msgs/msg/" + ("CompressedImage" if self.settings.image_transport == "compressed" else "Image")
        own = self.resolve_topic_name("heatmap/image")
        others = [name for name, kinds in self.get_topic_names_and_types()
                  if kind in kinds and name not in (topic, own) and self.count_publishers(name)]
        cure = f"there are images on {', '.join(others)}" if others else "start the camera"
        return f"no image on topic {topic}: nobody publishes it; {cure}, or remap `image` to the camera's topic"

    # -- parameters --------------------------------------------------------------------------------------------------

    def _on_change(self, _: list) -> None:
        self.settings = parameters.read(self)

        def apply(_: float) -> list[Event]:
            self.session.limits = self.settings.limits()
            return []
        self.worker.handle(apply)

    def _load(self, load: Callable[[parameters.Settings], Engine]) -> Engine:
        start = self.get_clock().now()
        engine = load(self.settings)
        self._own_threshold = engine.threshold
        seconds = (self.get_clock().now() - start).nanoseconds / 1e9
        self.get_logger().info(f"model '{self.settings.model}' is ready after {seconds:.1f} s; say what to look for on "
                               f"{self.resolve_topic_name('instruction')}")
        return engine

    def _set_threshold(self, engine: Engine) -> None:
        engine.threshold = self.settings.threshold or self._own_threshold

    # -- out ---------------------------------------------------------------------------------------------------------

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            _TELL[type(event)](self, event)

    def _tell_verdict(self, event: Looked) -> None:
        request = event.request
        self._heatmap.publish(conversions.heatmap_message(
            event.decision.ambiguity, header=request.snapshot.image.header, request_id=request.identity,
            instruction=request.instruction, turn=request.dialog.turns, size=request.size))

    def _tell_question(self, event: Asked) -> None:
        self.get_logger().info(f"request {event.request.identity} asks: {event.question}")
        self._speech.publish(String(data=event.question))

    def _tell_outcome(self, event: Finished) -> None:
        text = f"request {event.request.identity} ended: {event.outcome.name.lower().replace('_', ' ')}"
        if event.outcome is Outcome.ERROR:
            self.get_logger().error(f"{text}: {event.error}")
        else:
            self.get_logger().info(text)
        self._grounding.publish(grounded_message(event))

    def _tell_note(self, note: Note) -> None:
        if note.warning:
            self.get_logger().warning(note.text)
        else:
            self.get_logger().info(note.text)

    def _present(self, look: Look, frame: Frame, decision: Decision) -> None:
        picture = overlay(frame.rgb, decision, look.dialog.prompt, self.settings.overlay_alpha)
        self._picture.publish(conversions.image_from_rgb(picture, look.snapshot.image.header))


_TELL = {Looked: ClueNode._tell_verdict, Asked: ClueNode._tell_question, Finished: ClueNode._tell_outcome,
         Note: ClueNode._tell_note}


def grounded_message(event: Finished) -> GroundedObject:
    """The one message an instruction ends in; header and size are those of the last image that was looked at."""
    request = event.request
    message = GroundedObject(
        header=request.snapshot.image.header if request.snapshot else Header(), request_id=request.identity,
        instruction=request.instruction, outcome=event.outcome.value, error=event.error,
        image_width=request.size[0], image_height=request.size[1], questions_asked=request.questions,
        dialog=request.spoken, latency_ms=request.milliseconds)
    if request.decision is not None:
        message.candidates = conversions.candidate_messages(request.decision.ambiguity.candidates)
    if event.grounding is not None:
        message.box = conversions.box_message(event.grounding.box, event.grounding.score)
        message.score, message.label = float(event.grounding.score), event.grounding.label
    return message


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; exit code 1 when a parameter cannot be used."""
    # Own handlers, so that the last outcome can still be published: ROS's would close the context first.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stopping.append(received))
    try:
        node = ClueNode()
    except InputError as error:
        rclpy.logging.get_logger("clue_node").fatal(str(error))
        rclpy.shutdown()
        sys.exit(1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stopping:
        executor.spin_once(timeout_sec=0.2)
    ended = node.close()
    rclpy.shutdown()
    if not ended:  # a long look or load cannot be interrupted, and tearing down Python under it could crash
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
