"""The node on real DDS with the real embedded model."""

import time

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.ros.conversions import box_from_message, image_from_rgb
from clue_ros.ros.person import Person
from clue_ros.ros.request import Looked
from clue_ros.tabletop.questions import Oracle
from company import error_of


def test_ambiguous_question_answer_box(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    question = play.hear(String).data
    oracle = Oracle(ambiguous.picture.scene.objects, ambiguous.target, np.random.default_rng(0))
    answer = oracle.answer(question, ambiguous.candidates)
    play.person.reply(answer)
    end = play.hear(GroundedObject)
    assert end.outcome == GroundedObject.OUTCOME_GROUNDED and end.error == ""
    assert list(end.dialog) == [question, answer] and end.questions_asked == 1
    assert (end.image_width, end.image_height) == (640, 480)
    assert box_from_message(end.box).iou(ambiguous.picture.box(ambiguous.target)) >= 0.5
    assert end.header.frame_id == play.camera._message.header.frame_id and end.header.stamp.sec > 0
    assert end.latency_ms > 0
    heard = [*play.heard, *play.rest()]
    assert sum(isinstance(m, GroundedObject) for m in heard) == 1
    verdicts = [m for m in heard if isinstance(m, AmbiguityHeatmap)]
    assert {v.request_id for v in verdicts} == {end.request_id}
    assert [v.turn for v in verdicts] == [0, 1] and [v.ambiguous for v in verdicts] == [True, False]
    assert all(len(v.data) == v.rows * v.cols > 0 for v in verdicts)


def test_clear_instruction_needs_no_question(stage, embedded_engine, clear):
    play = stage(embedded_engine)
    play.show(clear.picture)
    play.person.say(clear.say)
    end = play.hear(GroundedObject)
    assert end.outcome == GroundedObject.OUTCOME_GROUNDED
    assert end.questions_asked == 0 and not any(isinstance(m, String) for m in play.heard)
    assert box_from_message(end.box).iou(clear.picture.box(clear.target)) >= 0.5


def test_instruction_before_the_first_image_waits_for_it(stage, embedded_engine, clear):
    play = stage(embedded_engine)
    play.person.say(clear.say)
    assert not play.rest(1.0)
    play.camera.show(clear.picture.rgb)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED


def test_a_newer_instruction_supersedes_an_open_question(stage, embedded_engine, ambiguous, clear):
    play = stage(embedded_engine)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    question = play.hear(String).data
    play.camera.show(clear.picture.rgb)
    play.person.say(clear.say)
    first, second = play.hear(GroundedObject), play.hear(GroundedObject)
    assert (first.outcome, first.instruction) == (GroundedObject.OUTCOME_SUPERSEDED, ambiguous.say)
    assert list(first.dialog) == [question]
    assert (second.outcome, second.instruction) == (GroundedObject.OUTCOME_GROUNDED, clear.say)
    play.logged(f"request {first.request_id} is superseded by {second.request_id}")


def test_nobody_answers(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine, question_timeout=0.5)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_QUESTION_TIMEOUT


def test_the_look_after_an_answer_uses_the_newest_image(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    play.hear(String)
    time.sleep(0.5)
    play.person.reply("the left one")
    while not isinstance(play.hear((GroundedObject, String)), GroundedObject):
        play.person.reply("the left one")
    verdicts = [v for v in [*play.heard, *play.rest()] if isinstance(v, AmbiguityHeatmap)]
    stamps = [v.header.stamp.sec + v.header.stamp.nanosec / 1e9 for v in verdicts]
    assert stamps[1] - stamps[0] > 0.3


def test_turn_limit_and_risk_change_at_run_time(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine, turn_limit=0)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    end = play.hear(GroundedObject)  # it may never ask: it points in doubt, and says so
    assert end.outcome == GroundedObject.OUTCOME_TURN_LIMIT and end.box.x2 > end.box.x1
    play.node.set_parameters([Parameter("turn_limit", value=3), Parameter("risk", value=1.0)])
    play.person.say(ambiguous.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED  # no doubt is great enough
    play.node.set_parameters([Parameter("risk", value=0.05)])
    play.person.say(ambiguous.say)
    play.hear(String)
    refused, = play.node.set_parameters([Parameter("risk", value=1.5)])
    assert not refused.successful


def test_results_are_latched(stage, embedded_engine, clear):
    from clue_ros.ros.demo import Spectator
    play = stage(embedded_engine)
    play.show(clear.picture)
    play.person.say(clear.say)
    end = play.hear(GroundedObject)
    late = Spectator(namespace=play.namespace, use_global_arguments=False)
    play.executor.add_node(late)
    kinds = {type(late.listen(5.0)), type(late.listen(5.0))}
    play.until(lambda: late.pictures)
    play.executor.remove_node(late)
    assert kinds == {GroundedObject, AmbiguityHeatmap}
    assert (end.header.stamp.sec, end.header.stamp.nanosec) in late.pictures
    time.sleep(0.1)
    late.destroy_node()


def test_compressed_images(stage, embedded_engine, clear):
    play = stage(embedded_engine, image_transport="compressed", max_frame_age=0.0)
    publisher = play.camera.create_publisher(CompressedImage, "image/compressed", 1)
    play.until(publisher.get_subscription_count)
    png = cv2.imencode(".png", clear.picture.rgb[..., ::-1])[1].tobytes()
    publisher.publish(CompressedImage(header=Header(frame_id="here"), format="png", data=png))
    play.person.say(clear.say)
    end = play.hear(GroundedObject)
    assert end.outcome == GroundedObject.OUTCOME_GROUNDED and end.header.frame_id == "here"
    play.until(lambda: play.view.session.newest is not None)
    publisher.publish(CompressedImage(format="png", data=png[:50]))
    play.until(lambda: len(play.view.session.newest.image.data) == 50)
    assert "cannot be decoded" in error_of(play)
    play.person.say(clear.say)  # one that was cut on its way, and then a whole one
    play.logged("the picture could not be used, so the next one is looked at: the compressed image")
    publisher.publish(CompressedImage(format="png", data=png))
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED


# -- bad input: one clear sentence each, and the node goes on ----------------------------------------------------------


def test_no_image_says_why(stage, embedded_engine):
    play = stage(embedded_engine, instruction_timeout=0.3)
    play.camera.destroy_publisher(play.camera._publisher)
    play.until(lambda: play.node.count_publishers("image") == 0)
    other = play.camera.create_publisher(Image, "elsewhere", 1)
    play.until(lambda: play.node.count_publishers("elsewhere"))
    sentence = error_of(play)
    assert sentence.startswith(f"no image on topic {play.namespace}/image: nobody publishes it")
    assert f"there are images on {play.namespace}/elsewhere" in sentence
    play.logged(sentence)
    play.camera.destroy_publisher(other)


def test_a_camera_that_stopped_and_one_with_old_stamps(stage, embedded_engine, clear):
    play = stage(embedded_engine, instruction_timeout=0.3, max_frame_age=2.0)
    play.show(clear.picture)
    play.camera._message = None
    time.sleep(2.3)
    assert "the camera has stopped" in error_of(play)
    old = image_from_rgb(clear.picture.rgb, Header())
    old.header.stamp.sec = 1_000_000
    before = play.view.session.newest
    play.camera._publisher.publish(old)
    play.until(lambda: play.view.session.newest is not before)
    assert "stamps" in error_of(play)
    old.header.stamp.sec = 0  # a camera that does not stamp is judged by arrival alone
    play.camera._publisher.publish(old)
    time.sleep(0.1)
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED


def test_publishers_whose_qos_does_not_fit_are_told_once_until_one_fits(stage, embedded_engine):
    play = stage(embedded_engine)
    hasty = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    quiet = PublisherEventCallbacks(use_default_callbacks=False)  # its own default callback warns in a deprecated way
    sentence = f"nothing is received on {play.namespace}/instruction: a publisher's reliability does not fit"
    told = lambda: sum(sentence in line for line in play.log)  # noqa: E731
    found = lambda: play.node.count_publishers(f"{play.namespace}/instruction")  # noqa: E731
    before, misfits = found(), []
    for _ in range(2):
        misfits.append(play.person.create_publisher(String, "instruction", hasty, event_callbacks=quiet))
    play.until(lambda: found() == before + 2)
    play.logged(sentence)
    time.sleep(0.5)
    assert told() == 1
    requests = lambda: next(part for part in play.view.health.report() if part.name.endswith(": requests"))  # noqa: E731
    assert sentence in requests().message and requests().level == DiagnosticStatus.WARN
    play.person.say(" ")
    play.logged(f"something is received on {play.namespace}/instruction now")
    assert sentence not in requests().message
    misfits.append(play.person.create_publisher(String, "instruction", hasty, event_callbacks=quiet))
    play.until(lambda: told() == 2)
    for publisher in misfits:
        play.person.destroy_publisher(publisher)


def test_an_output_that_fails_keeps_no_other_from_its_part(stage, embedded_engine, clear, monkeypatch):
    play = stage(embedded_engine)
    play.show(clear.picture)
    tell = play.view.outputs.tell

    def failing(event):
        if isinstance(event, Looked):
            raise MemoryError("no room for a heatmap")
        tell(event)
    monkeypatch.setattr(play.view.outputs, "tell", failing)
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    play.logged("Outputs could not tell of Looked: MemoryError: no room for a heatmap")


def test_who_talks_to_the_node_by_remapped_names_finds_it(stage, embedded_engine, clear):
    play = stage(embedded_engine)
    play.show(clear.picture)
    names = ("instruction", "answer", "heatmap", "speech", "grounding")
    remaps = [word for name in names for word in ("-r", f"{name}:={play.namespace}/{name}")]
    person = Person("elsewhere", cli_args=["--ros-args", *remaps], use_global_arguments=False)
    try:
        assert person.wait_for_node(20.0)
    finally:
        person.destroy_node()


def test_one_topic_may_carry_instructions_and_answers(stage, embedded_engine, ambiguous, clear):
    play = stage(embedded_engine, remapped=["instruction:=heard", "answer:=heard"])
    assert play.node.count_subscribers(f"{play.namespace}/heard") == 1
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    question = play.hear(String).data
    play.person.say("the left one")  # no instruction, though it comes the same way
    end = play.hear(GroundedObject)
    assert end.instruction == ambiguous.say and list(end.dialog[:2]) == [question, "the left one"]
    play.show(clear.picture)
    play.person.reply(clear.say)
    assert play.hear(GroundedObject).instruction == clear.say
