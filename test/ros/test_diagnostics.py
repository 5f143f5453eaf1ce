"""What is counted, and what /diagnostics and the log say on real DDS."""

import math
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros.model_folder import embedded
from clue_ros.msg import GroundedObject, ModelProvenance
from clue_ros.provenance import PARTS, describe
from clue_ros.ros.conversions import image_from_rgb
from clue_ros.ros.diagnostics import Tally
from clue_ros.ros.node import load_engine
from clue_ros.ros.qos import LATCHED
from clue_ros.ros.request import Snapshot
from clue_ros.ros.session import Limits, Session
from clue_ros.ros.words import OnChange, shown
from clue_ros.types import Ambiguity, Box, Decision, Grounding

DECISION = Decision(Ambiguity(0.1, 0.5, np.zeros((2, 2), np.float32)), Grounding(Box(0, 0, 1, 1), 0.9))


class Watched:
    """A session whose events and pictures a tally counts."""

    def __init__(self):
        self.session, self.tally = Session(Limits(max_frame_age=0)), Tally()

    def see(self, now):
        snapshot = Snapshot("picture", now)
        self.tally.saw(snapshot)
        self.do(self.session.see(snapshot), now)

    def do(self, events, now):
        for event in events:
            self.tally.happened(event, now)


def test_pictures_are_received_looked_at_or_dropped():
    watched = Watched()
    session, tally = watched.session, watched.tally
    for now in (0.0, 0.1, 0.2):
        watched.see(now)
    assert (tally.received, tally.looked_at, tally.dropped(session)) == (3, 0, 2)  # the third may still be looked at
    watched.do(session.instruct("the mug", 0.2), 0.2)
    look = session.next_look(0.2)
    watched.see(0.3)
    watched.see(0.4)
    assert (tally.looked_at, tally.dropped(session)) == (0, 3)  # the third is being looked at, the fifth may be
    watched.do(session.looked(look, DECISION, (4, 4), 12.5, 0.5), 0.5)
    assert (tally.looked_at, tally.dropped(session)) == (1, 3)
    watched.do(session.instruct("the can", 0.6), 0.6)
    watched.do(session.failed(session.next_look(0.6), "no luck", 0.7), 0.7)
    assert (tally.received, tally.looked_at, tally.dropped(session)) == (5, 2, 3)
    assert {outcome.name: count for outcome, count in tally.outcomes.items()} == {"GROUNDED": 1, "ERROR": 1}
    assert (tally.error, tally.error_at, tally.last.name) == ("no luck", 0.7, "ERROR")


def test_the_same_picture_looked_at_twice_counts_once():
    watched = Watched()
    watched.see(0.0)
    for now in (1.0, 2.0):
        watched.do(watched.session.instruct("the mug", now), now)
        watched.do(watched.session.looked(watched.session.next_look(now), DECISION, (4, 4), now, now), now)
    assert (watched.tally.looked_at, watched.tally.dropped(watched.session)) == (1, 0)


def test_rate_and_percentiles():
    tally = Tally()
    assert tally.rate(0.0) == 0.0 and math.isnan(tally.percentile(50))
    for k in range(100):
        tally.saw(Snapshot("picture", k / 10))
    assert tally.rate(9.95) == pytest.approx(10.0) and tally.rate(12.45) == pytest.approx(5.0) and tally.rate(20.0) == 0.0
    tally.milliseconds.extend(range(101))
    assert (tally.percentile(50), tally.percentile(95)) == (50.0, 95.0)


def test_a_sentence_is_said_again_only_when_its_words_change():
    class Log:
        def __init__(self):
            self.lines = []

        def warning(self, text):
            self.lines.append(text)

        info = warning

    log = Log()
    words = OnChange(log)
    for sentence in ("last image 1.5 s ago", "last image 2 s ago", "nobody publishes", "last image 3.25 s ago.",
                     "encoding 8UC3", "encoding 8UC4"):
        words.warn("camera", sentence)
    words.warn("target", "nobody publishes")
    words.clear("camera", "it is back")
    words.clear("camera", "it is back")
    words.warn("camera", "last image 4.0 s ago")
    assert log.lines == ["last image 1.5 s ago", "nobody publishes", "last image 3.25 s ago.", "encoding 8UC3",
                         "encoding 8UC4", "nobody publishes", "it is back", "last image 4.0 s ago"]


# -- on real DDS ---------------------------------------------------------------------------------------------------------


class Watch:
    """Listens to /diagnostics: `parts[name]` is that part's newest status."""

    def __init__(self, play):
        self.parts, self.play = {}, play
        play.person.create_subscription(DiagnosticArray, "/diagnostics", self._keep, 10)

    def _keep(self, msg):
        for status in msg.status:
            node, _, part = status.name.partition(": ")
            if node == f"{self.play.namespace[1:]}/clue_node":
                self.parts[part] = status

    def until(self, part, condition, seconds=15.0):
        """The first status of that part for which the condition on (level, message, values) holds."""
        self.play.until(lambda: part in self.parts and condition(*self._content(part)), seconds)
        return self._content(part)

    def _content(self, part):
        status = self.parts[part]
        return status.level, status.message, {pair.key: pair.value for pair in status.values}


def test_diagnostics_of_a_day(stage, embedded_engine, clear):
    play = stage(embedded_engine, max_frame_age=4.0, instruction_timeout=0.2)
    watch = Watch(play)
    level, _, values = watch.until("model", lambda level, *_: level == DiagnosticStatus.OK)
    assert (values["state"], values["model"], values["device"]) == ("active", "tabletop", "cpu")
    assert 50 < float(values["memory of the process [MB]"]) < 8000
    play.show(clear.picture)
    _, text, values = watch.until("camera", lambda level, text, values: float(values["rate [Hz]"]) > 1)
    assert text == "images come"
    assert values["topic"] == f"{play.namespace}/image" and float(values["age of the newest image [s]"]) < 4.0
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    level, _, values = watch.until("requests", lambda level, text, values: values["grounded"] == "1")
    assert level == DiagnosticStatus.OK and values["running"] == values["last error"] == "none"
    assert 0 < float(values["a look, p50 [ms]"]) <= float(values["a look, p95 [ms]"])
    _, _, values = watch.until("camera", lambda level, text, values: values["images looked at"] == "1")
    assert int(values["images dropped for a newer one"]) <= int(values["images received"]) - 1

    play.camera.show(None)  # the camera stalls
    before = len(play.log)
    level, text, _ = watch.until("camera", lambda level, *_: level == DiagnosticStatus.WARN)
    assert "the camera has stopped: its last image came" in text
    play.logged("the camera has stopped")
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_ERROR
    level, text, values = watch.until("requests", lambda level, text, values: values["error"] == "1")
    assert level == DiagnosticStatus.WARN and "the camera has stopped" in text and "s ago" in values["last error"]
    time.sleep(2.0)
    said = [line for line in play.log[before:] if line.startswith("the camera has stopped")]
    assert len(said) == 1, said
    play.camera.show(clear.picture.rgb)  # and returns
    watch.until("camera", lambda level, text, values: text == "images come")
    play.logged(f"images come on {play.namespace}/image")


def test_a_topic_of_another_type_is_told_by_it(stage, embedded_engine):
    play = stage(embedded_engine)
    play.camera.destroy_publisher(play.camera._publisher)
    elsewhere = Context()  # within one, a topic has one type
    rclpy.init(context=elsewhere)
    try:
        node = Node("driver", context=elsewhere, namespace=play.namespace)
        node.create_publisher(CompressedImage, "image", 1)
        play.until(lambda: "sensor_msgs/msg/CompressedImage, this node listens to sensor_msgs/msg/Image; remap" in
                   play.view.inputs.why_no_image())
        node.destroy_node()
    finally:
        rclpy.shutdown(context=elsewhere)
    play.until(lambda: "nobody publishes it" in play.view.inputs.why_no_image())


@pytest.mark.parametrize("transport, kind, name, cure", [
    ("raw", Image, "color", "images on {0}/color: remap `image` to the camera's topic"),
    ("raw", CompressedImage, "color/compressed", "compressed images on {0}/color: remap `image` to the camera's topic, and set "
                                                 "image_transport to compressed"),
    ("compressed", CompressedImage, "color/compressed", "images on {0}/color: remap `image` to the camera's topic"),
    ("compressed", Image, "color", "raw images on {0}/color: remap `image` to the camera's topic, and set image_transport to raw")])
def test_the_sentence_about_a_missing_camera_names_the_topic_to_remap_to(stage, embedded_engine, transport, kind, name, cure):
    play = stage(embedded_engine, image_transport=transport)
    play.camera.destroy_publisher(play.camera._publisher)
    play.camera.create_publisher(kind, name, 1)
    play.until(lambda: cure.format(play.namespace) in play.view.inputs.why_no_image())


def test_a_camera_that_cuts_every_other_image_is_told_once(stage, embedded_engine, clear):
    play = stage(embedded_engine, max_frame_age=0.0)
    whole = image_from_rgb(clear.picture.rgb, Header())
    cut = image_from_rgb(clear.picture.rgb, Header())
    cut.encoding = "8UC3 "
    for number, image in enumerate([cut, whole] * 5):
        image.header.frame_id = str(number)
        play.camera._publisher.publish(image)
        play.until(lambda: play.view.session.newest is not None and play.view.session.newest.image.header.frame_id == str(number))
    _, text, _ = Watch(play).until("camera", lambda level, *_: level == DiagnosticStatus.WARN)
    assert "encoding '8UC3 ' is not supported" in text
    assert len([line for line in play.log if "encoding '8UC3 ' is not supported" in line]) == 1


def test_compressed_images_of_no_use_are_told_before_one_is_looked_at(stage, embedded_engine):
    play = stage(embedded_engine, image_transport="compressed")
    video = play.camera.create_publisher(CompressedImage, "image/compressed", 1)
    play.until(lambda: play.node.state == "active")
    play.until(lambda: video.publish(CompressedImage(format="h264", data=bytes(range(200)))) or play.view.inputs.unusable)
    _, text, _ = Watch(play).until("camera", lambda level, *_: level == DiagnosticStatus.WARN)
    assert "(format 'h264', 200 bytes) cannot be decoded: publish JPEG or PNG" in text


def test_a_request_that_failed_is_a_warning_for_a_while(stage, embedded_engine, monkeypatch):
    monkeypatch.setattr("clue_ros.ros.diagnostics.FRESH", 2.0)
    play = stage(embedded_engine)
    watch = Watch(play)
    play.until(lambda: play.node.state == "active")
    play.person.say("")
    _, text, _ = watch.until("requests", lambda level, *_: level == DiagnosticStatus.WARN)
    assert text.startswith("the last request failed: the instruction is empty")
    _, text, values = watch.until("requests", lambda level, *_: level == DiagnosticStatus.OK)
    assert text == "1 requests so far" and "the instruction is empty" in values["last error"]


def test_a_look_that_does_not_end_is_told(stage, embedded_engine, monkeypatch):
    play = stage(embedded_engine)
    watch = Watch(play)
    watch.until("model", lambda level, *_: level == DiagnosticStatus.OK)
    monkeypatch.setattr(type(play.node.worker), "looking_for", 61.0)
    _, text, _ = watch.until("model", lambda level, text, _: level == DiagnosticStatus.WARN)
    assert text == "a look has been going on for 61 s, and every camera's next one waits for it"
    play.logged("still at one look, for 61 s now; where each takes so long, the model is too large for the device", 12.0)


def test_a_camera_that_is_not_there(stage, embedded_engine, monkeypatch):
    monkeypatch.setattr("clue_ros.ros.diagnostics.GRACE", 3.0)
    play = stage(embedded_engine)
    watch = Watch(play)
    play.camera.destroy_publisher(play.camera._publisher)
    watch.until("camera", lambda level, text, _: (level, text) == (DiagnosticStatus.OK, "waiting for the first image"))
    _, text, _ = watch.until("camera", lambda level, text, _: level == DiagnosticStatus.WARN and "nobody publishes" in text)
    play.logged(text)


def test_a_camera_that_stopped_where_any_age_will_do(stage, embedded_engine, script, monkeypatch):
    monkeypatch.setattr("clue_ros.ros.diagnostics.GRACE", 0.5)
    play = stage(embedded_engine, max_frame_age=0.0)
    play.show(script[0].picture)
    play.camera.show(None)
    play.logged("the last image came")
    assert not play.view.session.trouble(time.monotonic())  # it is looked at all the same


def test_a_model_that_cannot_be_loaded(stage, tmp_path):
    play = stage(load_engine, model=str(tmp_path / "nowhere"))
    watch = Watch(play)
    _, text, values = watch.until("model", lambda level, *_: level == DiagnosticStatus.ERROR, 60.0)
    assert "nowhere" in text and values["state"] == "unconfigured" and "model" not in values


def test_what_people_typed_cannot_move_the_cursor_or_begin_a_line():
    assert shown("mug\x1b[2J\n[ERROR] all is lost\u202e\x00\u2028") == "mug [2J [ERROR] all is lost   "
    assert shown("die schöne Tasse — 杯", 10) == "die schöne..."


def test_the_model_topic_tells_late_listeners_what_is_loaded(stage, embedded_engine):
    play, heard = stage(embedded_engine), []
    play.until(lambda: play.node.state == "active")
    play.person.create_subscription(ModelProvenance, "model", heard.append, LATCHED)
    play.until(lambda: heard)
    told, known = heard[-1], describe("tabletop", embedded_engine(None, None))
    assert (told.model, told.device, told.dtype) == ("tabletop", "cpu", "float32")
    assert told.folder == str(embedded()) and list(told.files) == [line for part in known.files.values() for line in part]
    assert [told.base_sha256, told.adapter_sha256, told.detector_sha256] == [known.digest(part) for part in PARTS]
    assert len({told.base_sha256, told.adapter_sha256, told.detector_sha256, ""}) == 4
    assert told.threshold == pytest.approx(known.threshold) and told.calibration == known.calibration != ""
    assert list(told.versions) == list(known.versions) and told.commit == known.commit
    assert any(line.endswith("  detector/model.safetensors") for line in told.files)
    play.node.trigger_deactivate()
    play.node.trigger_cleanup()
    play.until(lambda: heard[-1].model == "" and not heard[-1].files)
