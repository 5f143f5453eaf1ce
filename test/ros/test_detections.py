"""vision_msgs, where it is installed; where it is not, the node does without it."""

import pytest
from std_msgs.msg import Header

from clue_ros.msg import GroundedObject
from clue_ros.ros.detections import Detection2DArray, detection_message
from clue_ros.types import Box, Grounding

needs_vision_msgs = pytest.mark.skipif(Detection2DArray is None, reason="vision_msgs is not installed")


@needs_vision_msgs
def test_detection_message():
    message = detection_message(Grounding(Box(10, 20, 50, 40), 0.75, "red mug"), Header(frame_id="optical"), "r1")
    detection, = message.detections
    assert message.header.frame_id == detection.header.frame_id == "optical" and detection.id == "r1"
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (30, 30)
    assert (detection.bbox.size_x, detection.bbox.size_y, detection.bbox.center.theta) == (40, 20, 0)
    assert (detection.results[0].hypothesis.class_id, detection.results[0].hypothesis.score) == ("red mug", 0.75)


@needs_vision_msgs
def test_the_node_publishes_what_it_found(stage, embedded_engine, clear):
    play, heard = stage(embedded_engine), []
    play.person.create_subscription(Detection2DArray, "detections", heard.append, 10)
    play.until(lambda: play.node.count_subscribers("detections") and play.person.count_publishers("detections"))
    play.show(clear.picture)
    play.person.say(clear.say)
    end = play.hear(GroundedObject)
    play.until(lambda: heard)
    detection, = heard[0].detections
    assert detection.id == end.request_id and heard[0].header == end.header
    assert detection.bbox.size_x == pytest.approx(end.box.x2 - end.box.x1, abs=1e-3)


@pytest.mark.skipif(Detection2DArray is not None, reason="vision_msgs is installed")
def test_without_vision_msgs_there_is_no_such_topic(stage, embedded_engine):
    play = stage(embedded_engine)
    topics = {name for name, _ in play.person.get_topic_names_and_types()}
    assert f"{play.namespace}/grounding" in topics and f"{play.namespace}/detections" not in topics
