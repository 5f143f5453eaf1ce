"""What the node hears and sees: its topics in, and in words what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.qos import QoSCompatibility, QoSPolicyKind, QoSProfile, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from clue_ros import encodings
from clue_ros.msg import Answer
from clue_ros.ros.conversions import nanoseconds
from clue_ros.ros.place import Place
from clue_ros.ros.qos import EVERY_WORD, NEWEST
from clue_ros.ros.request import Event, Snapshot
from clue_ros.ros.words import OnChange
from clue_ros.ros.worker import Desk
from clue_ros.types import InputError

QUIET = 5.0  # seconds without an image of no use before that is no trouble any more: a driver may cut one in ten
RAW, PACKED, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "/compressed"


class Inputs:
    """A camera's subscriptions. They last as long as the node; what comes while the session is closed is not looked at.

    compressed: listen to `image/compressed` instead of `image`. watchers: called with every picture that comes, before
    it can be looked at, while nobody else changes the session.
    """

    def __init__(self, place: Place, desk: Desk, *, compressed: bool):
        self._node, self._log, self._desk, self._session = place.node, place.log, desk, desk.session
        self.watchers: list[Callable[[Snapshot], None]] = []
        self.unusable = ""  # why the last image of no use is of none, as far as can be told without decoding it; "" after a while
        self._spoilt_at = 0.0
        self._words = OnChange(self._log)
        self._incompatible: dict[str, str] = {}
        self._qos: dict[str, QoSProfile] = {}
        self._image_kind = CompressedImage if compressed else Image
        # image_transport's convention: the compressed topic lies below the (remapped) raw one.
        self._image = place.topic("image")
        topic = self._node.resolve_topic_name(self._image) + COMPRESSED if compressed else self._image
        self.image_topic = self.listen(self._image_kind, topic, self._on_image, NEWEST)
        instruction, answer = place.topic("instruction"), place.topic("answer")
        if self._node.resolve_topic_name(instruction) == self._node.resolve_topic_name(answer):  # such as of one microphone
            self.instruction_topic = self.listen(String, instruction, self._on_words, EVERY_WORD)
        else:
            self.instruction_topic = self.listen(String, instruction, self._on_instruction, EVERY_WORD)
            self.listen(String, answer, self._on_answer, EVERY_WORD)
        self.listen(Answer, place.topic("answer/addressed"), self._on_addressed_answer, EVERY_WORD)

    def listen(self, kind: type, topic: str, callback: Callable, qos: QoSProfile) -> str:
        """Subscribe, and tell in words when a publisher's QoS does not fit, once until something is received; the topic's full
        name."""
        def incompatible(info: QoSRequestedIncompatibleQoSInfo) -> None:
            policy = QoSPolicyKind(info.last_policy_kind).name.lower()
            self._incompatible[name] = f"a publisher's {policy} does not fit this node's subscription"
            self._words.warn(name, f"nothing is received on {name}: {self._incompatible[name]}; publish it "
                                   f"{qos.reliability.name.lower()} and {qos.durability.name.lower()}")

        def heard(msg: object) -> None:
            if self._incompatible.pop(name, ""):  # from another publisher, or from the same one, started anew
                self._words.clear(name, f"something is received on {name} now")
            callback(msg)
        events = SubscriptionEventCallbacks(incompatible_qos=incompatible)
        name = self._node.create_subscription(kind, topic, heard, qos, event_callbacks=events).topic_name
        self._qos[name] = qos
        return name

    @property
    def deaf(self) -> str:
        """Where words do not reach the node, though somebody publishes them, and why; "" where none is known."""
        return "; ".join(f"nothing is received on {name}: {why}" for name, why in self._incompatible.items()
                         if name != self.image_topic and self._misfits(name))

    def _misfits(self, name: str) -> bool:
        """Whether a publisher whose QoS does not fit is there now."""
        return any(qos_check_compatible(publisher.qos_profile, self._qos[name])[0] == QoSCompatibility.ERROR
                   for publisher in self._node.get_publishers_info_by_topic(name))

    @property
    def listening(self) -> bool:
        """Whether what comes can be of use."""
        return not self._session.gate.refusal

    def _on_image(self, msg: Image | CompressedImage) -> None:
        if not self.listening:
            return
        self._complain(msg)
        stamp = nanoseconds(msg.header.stamp)
        delay = (self._node.get_clock().now().nanoseconds - stamp) / 1e9 if stamp else 0.0

        def see(at: float) -> list[Event]:
            snapshot = Snapshot(msg, at, delay)
            for watcher in self.watchers:
                watcher(snapshot)
            return self._session.see(snapshot)
        self._desk.handle(see)

    def _complain(self, msg: Image | CompressedImage) -> None:
        """Say once what is wrong with the camera's images; they fail again, with an outcome, when one is looked at."""
        try:
            if isinstance(msg, Image):
                encodings.check(msg)
            else:
                encodings.check_compressed(msg)
        except InputError as error:
            self.unusable, self._spoilt_at = f"on {self.image_topic}: {error}", time.monotonic()
            self._words.warn("image", self.unusable)
        else:
            if self.unusable and time.monotonic() - self._spoilt_at > QUIET:
                self.unusable = ""
                self._words.clear("image")

    def _on_words(self, msg: String) -> None:
        self._desk.handle(lambda now: self._session.hear(msg.data, now))

    def _on_instruction(self, msg: String) -> None:
        self._desk.handle(lambda now: self._session.instruct(msg.data, now))

    def _on_answer(self, msg: String) -> None:
        self._desk.handle(lambda now: self._session.answer(msg.data, now))

    def _on_addressed_answer(self, msg: Answer) -> None:
        self._desk.handle(lambda now: self._session.answer(msg.text, now, (msg.request_id, msg.turn)))

    def why_no_image(self) -> str:
        """One sentence: why nothing came on the image topic."""
        node, topic, kind = self._node, self.image_topic, RAW if self._image_kind is Image else PACKED
        publishers = node.get_publishers_info_by_topic(topic)
        kinds = {publisher.topic_type for publisher in publishers}
        if publishers and topic in self._incompatible:
            return f"no image on topic {topic}: {self._incompatible[topic]}"
        if kinds and kind not in kinds:
            return (f"no image on topic {topic}: it carries {', '.join(sorted(kinds))}, this node listens to {kind}; remap "
                    f"`{self._image}` to the raw topic, with the parameter image_transport as `compressed` where the compressed "
                    "one below it is meant")
        if publishers:
            return (f"no image on topic {topic}: {len(publishers)} publisher(s) there, but nothing was received; is the camera "
                    "running? Images of one machine also get lost where shared memory has no room for them, as it never has for those of "
                    "more than 15 MB (docs/robustness.md)")
        return f"no image on topic {topic}: nobody publishes it; {self._where_images_are()}"

    def _where_images_are(self) -> str:
        """What to do about a topic that nobody publishes."""
        node, remap = self._node, f"remap `{self._image}` to the camera's topic"
        own = dict(node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace()))
        others = {name: kinds for name, kinds in node.get_topic_names_and_types()
                  if name != self.image_topic and name not in own and node.count_publishers(name)}
        raw = [name for name, kinds in others.items() if RAW in kinds]
        below = [name.removesuffix(COMPRESSED) for name, kinds in others.items() if PACKED in kinds and name.endswith(COMPRESSED)]
        mine, theirs, transport = (raw, below, "compressed") if self._image_kind is Image else (below, raw, "raw")
        if mine:
            return f"there are images on {', '.join(mine)}: {remap}"
        if theirs:
            return f"there are {transport} images on {', '.join(theirs)}: {remap}, and set image_transport to {transport}"
        return f"start the camera, or {remap}"
