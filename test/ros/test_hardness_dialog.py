"""What cameras, people and clocks do to a dialog, on real DDS with the embedded model: one outcome, and a sane one."""

import time

import cv2
import pytest
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from clue_ros.msg import Answer, GroundedObject, Question
from clue_ros.ros.camera import Camera
from clue_ros.ros.conversions import FROM_RGB, image_from_rgb
from clue_ros.ros.camera import FRAME_ID
from clue_ros.ros.qos import EVERY_WORD, LATCHED_LISTENER
from company import Stage

HOUR = 3600
GROUNDED, TURN_LIMIT = GroundedObject.OUTCOME_GROUNDED, GroundedObject.OUTCOME_TURN_LIMIT
PLAIN = {"max_frame_age": 5.0, "instruction_timeout": 30.0, "question_timeout": 60.0, "turn_limit": 1, "use_sim_time": False}


@pytest.fixture(scope="module")
def shared(embedded_engine):
    """A node for all these tests."""
    made = Stage(embedded_engine, **PLAIN)
    yield made
    made.close()


@pytest.fixture
def play(shared):
    """The node as it starts, nothing heard; at the end, nothing more to hear than was heard."""
    shared.node.set_parameters([Parameter(name, value=value) for name, value in PLAIN.items()])
    shared.heard.clear()
    yield shared
    assert not [m for m in shared.rest(0.3) if isinstance(m, GroundedObject)]  # nothing ends twice
    assert shared.view.session.request is None


def set_to(play, **values):
    """Change parameters while the node runs."""
    assert all(result.successful for result in play.node.set_parameters([Parameter(n, value=v) for n, v in values.items()]))


def asked(play, step):
    """Begin a dialog: the question, still open."""
    play.show(step.picture)
    play.person.say(step.say)
    return play.hear(String).data


def end_after(play, answer):
    """How the dialog ends after that answer."""
    play.person.reply(answer)
    return play.hear(GroundedObject)


# -- cameras ---------------------------------------------------------------------------------------------------------------


def test_the_camera_stalls_in_a_dialog_and_returns_with_other_pictures(play, ambiguous):
    set_to(play, max_frame_age=0.5)
    asked(play, ambiguous)
    play.camera.show(None)
    time.sleep(0.8)
    play.person.reply("the left one")
    assert not [m for m in play.rest(0.5) if isinstance(m, GroundedObject)]  # the answer waits for a picture
    play.camera.show(cv2.resize(ambiguous.picture.rgb, (320, 200)), "bgra8")
    end = play.hear(GroundedObject)
    assert end.outcome in (GROUNDED, TURN_LIMIT) and (end.image_width, end.image_height) == (320, 200)
    assert end.box.x2 <= 320 and end.box.y2 <= 200 and end.questions_asked == 1


def test_the_camera_stalls_in_a_dialog_and_stays_away(play, ambiguous):
    set_to(play, max_frame_age=0.4, instruction_timeout=0.6)
    question = asked(play, ambiguous)
    play.camera.show(None)
    time.sleep(0.6)
    end = end_after(play, "the left one")
    assert end.outcome == GroundedObject.OUTCOME_ERROR and "the camera has stopped: its last image came" in end.error
    assert list(end.dialog) == [question, "the left one"]


@pytest.mark.parametrize("encoding", FROM_RGB)
def test_resolution_and_encoding_change_in_a_dialog(play, ambiguous, encoding):
    asked(play, ambiguous)
    play.camera.show(cv2.resize(ambiguous.picture.rgb, (424, 240)), encoding)
    play.until(lambda: play.view.session.newest.image.encoding == encoding and play.view.session.newest.image.width == 424)
    end = end_after(play, "the left one")
    assert end.outcome in (GROUNDED, TURN_LIMIT) and (end.image_width, end.image_height) == (424, 240)


def test_unusable_pictures_in_a_dialog(play, ambiguous, clear):
    asked(play, ambiguous)
    play.camera.show(None)
    play.camera._publisher.publish(Image(width=4, height=4, encoding="rgb8", step=12, data=bytes(5)))
    play.until(lambda: play.view.session.newest.image.width == 4)
    assert "size and data disagree" in end_after(play, "the left one").error
    play.show(clear.picture)
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GROUNDED


def test_the_cameras_process_starts_anew_in_a_dialog(play, ambiguous):
    asked(play, ambiguous)
    play.camera.show(None)
    play.camera.destroy_publisher(play.camera._publisher)
    play.until(lambda: not play.node.count_publishers("image"))
    other = Camera(manual=True, namespace=play.namespace, use_global_arguments=False)
    play.executor.add_node(other)
    before = play.view.session.newest
    other.show(ambiguous.picture.rgb[::2, ::2])
    play.until(lambda: play.view.session.newest is not before)
    end = end_after(play, "the left one")
    other.show(None)
    play.executor.remove_node(other)
    play.camera._publisher = play.camera.create_publisher(Image, "image", 1)
    time.sleep(0.1)
    other.destroy_node()
    assert end.outcome in (GROUNDED, TURN_LIMIT) and end.image_width == 320


# -- people ----------------------------------------------------------------------------------------------------------------


def test_an_answer_that_comes_too_late(play, ambiguous):
    set_to(play, question_timeout=0.3)
    asked(play, ambiguous)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_QUESTION_TIMEOUT
    play.person.reply("the late one")
    play.logged("the answer 'the late one' is ignored: no question is open")


def test_an_answer_that_comes_twice(play, ambiguous):
    question = asked(play, ambiguous)
    play.person.reply("the left one")
    end = end_after(play, "the left one again")
    assert end.outcome in (GROUNDED, TURN_LIMIT) and list(end.dialog) == [question, "the left one"]
    play.logged("the answer 'the left one again' is ignored: no question is open")


def test_an_answer_that_names_another_request(play, ambiguous):
    """Though a question is open: what was said twice, or late, would be taken for its answer on topic `answer`."""
    tell = play.person.create_publisher(Answer, "answer/addressed", EVERY_WORD)
    play.until(tell.get_subscription_count)
    question, latched = asked(play, ambiguous), []
    play.person.create_subscription(Question, "question", latched.append, LATCHED_LISTENER)  # who comes late finds it
    play.until(lambda: latched and latched[-1].text == question)
    named = latched[-1]
    assert named.instruction == ambiguous.say and named.header.frame_id == FRAME_ID
    tell.publish(Answer(request_id="long ago", turn=0, text="the red one"))
    play.logged("the answer 'the red one' is ignored: it is for question 0 of request 'long ago'")
    tell.publish(Answer(request_id=named.request_id, turn=named.turn, text="the left one"))
    end = play.hear(GroundedObject)
    assert end.request_id == named.request_id and list(end.dialog) == [question, "the left one"]
    play.until(lambda: not latched[-1].text)  # nor any more once it was answered
    assert latched[-1].request_id == named.request_id
    play.person.destroy_publisher(tell)


def test_an_answer_to_a_request_that_is_no_more(play, ambiguous, clear):
    asked(play, ambiguous)
    play.camera.show(None)
    set_to(play, max_frame_age=0.2)
    time.sleep(0.4)
    play.person.say(clear.say)  # waits for a picture
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_SUPERSEDED
    play.person.reply("the one of before")
    play.logged("the answer 'the one of before' is ignored: no question is open")
    play.camera.show(clear.picture.rgb)  # while the picture of before is still too old
    end = play.hear(GroundedObject)
    assert (end.outcome, end.instruction, list(end.dialog)) == (GROUNDED, clear.say, [])


def test_many_instructions_at_once(play, clear):
    """Each one ends, all but the last as superseded."""
    play.show(clear.picture)
    ends, count = [], 100
    listener = play.person.create_subscription(GroundedObject, "grounding", ends.append, 2 * count)
    time.sleep(0.3)
    ends.clear()  # what was latched
    for _ in range(count):
        play.person.say(clear.say)
    play.until(lambda: len(ends) >= count, 30.0)
    time.sleep(0.5)
    assert [end.outcome for end in ends] == [GroundedObject.OUTCOME_SUPERSEDED] * (count - 1) + [GROUNDED]
    assert len({end.request_id for end in ends}) == count
    play.person.destroy_subscription(listener)
    play.rest(0.3)


# -- clocks ----------------------------------------------------------------------------------------------------------------


class Simulation:
    """Publishes /clock and pictures stamped by it; the node's own clock follows it."""

    def __init__(self, play, picture):
        self.play, self.picture = play, picture
        self.publisher = play.person.create_publisher(Clock, "/clock", 10)
        play.camera.show(None)
        set_to(play, use_sim_time=True, max_frame_age=2.0, instruction_timeout=0.5, question_timeout=0.5)
        play.until(self.publisher.get_subscription_count)

    def set(self, seconds):
        """Set the clock, and wait for the node to follow."""
        message = Clock()
        message.clock.sec = seconds
        self.publisher.publish(message)
        self.play.until(lambda: seconds < 0 or self.play.node.get_clock().now().nanoseconds == seconds * 10 ** 9)

    def see(self, stamp):
        """A picture with that stamp, seconds."""
        message, before = image_from_rgb(self.picture.rgb, Header()), self.play.view.session.newest
        message.header.stamp.sec = stamp
        self.play.camera._publisher.publish(message)
        self.play.until(lambda: self.play.view.session.newest is not before)

    def end_of(self, words):
        """How an instruction ends."""
        self.play.person.say(words)
        return self.play.hear(GroundedObject)


@pytest.fixture
def simulation(play, clear):
    made = Simulation(play, clear.picture)
    yield made
    play.person.destroy_publisher(made.publisher)


def test_before_the_first_clock_message_it_works(simulation, clear):
    simulation.see(12 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED


def test_jumps_of_the_clock_make_old_what_is_old_and_no_more(simulation, clear):
    simulation.set(10 * HOUR)
    simulation.see(10 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED
    simulation.set(11 * HOUR)  # forward: pictures that were taken before are an hour old
    simulation.see(10 * HOUR)
    assert "the camera's images carry stamps 3600" in simulation.end_of(clear.say).error
    simulation.see(11 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED
    simulation.set(9 * HOUR)  # and back: a stamp of the future tells nothing, the picture has just come
    simulation.see(11 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED
    simulation.see(9 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED


def test_a_paused_clock_stops_no_time_out(simulation, play, ambiguous):
    simulation.set(10 * HOUR)
    simulation.picture = ambiguous.picture
    simulation.see(10 * HOUR)
    start = time.monotonic()
    assert simulation.end_of(ambiguous.say).outcome == GroundedObject.OUTCOME_QUESTION_TIMEOUT
    time.sleep(2.1)
    end = simulation.end_of(ambiguous.say)  # and no picture grows young
    assert end.outcome == GroundedObject.OUTCOME_ERROR and "the camera has stopped" in end.error
    assert 0.5 < time.monotonic() - start < 15.0


def test_a_clock_that_runs_wild(simulation, play, clear):
    for k in range(10):
        simulation.set(now := (20 - k) * HOUR if k % 2 else k * HOUR)
        simulation.see(5 * HOUR)
        end = simulation.end_of(clear.say)
        assert "stamps" in end.error if now > 5 * HOUR else end.outcome == GROUNDED
    simulation.set(-5)  # rclpy raises over it, in the node's own thread
    play.logged("a message or request was dropped: ValueError")
    simulation.set(5 * HOUR)
    simulation.see(5 * HOUR)
    assert simulation.end_of(clear.say).outcome == GROUNDED
