"""clue_dialog as a process, from a pipe and at a (pseudo-)terminal, with a real node."""

import contextlib
import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest
from std_msgs.msg import String

from clue_ros.msg import AmbiguityHeatmap, CandidateBox, GroundedObject, Question
from clue_ros.ros.request import Outcome
from clue_ros.ros.terminal import Conversation, describe

PATIENCE = 60.0


@pytest.fixture
def dialog():
    """A function that starts clue_dialog in a namespace; it is killed after the test."""
    with contextlib.ExitStack() as running:
        def start(namespace, *arguments, **streams):
            process = running.enter_context(subprocess.Popen(
                [sys.executable, "-m", "clue_ros.ros.terminal", "--ros-args", "-r", f"__ns:={namespace}", *arguments],
                start_new_session=True, **streams))
            running.callback(process.kill)
            return process
        yield start


@pytest.fixture
def piped(dialog):
    """The same, with pipes."""
    return lambda *arguments: dialog(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True)


class Keyboard:
    """A terminal, its keyboard and its screen."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.screen = ""

    def type(self, text):
        """Press keys."""
        os.write(self.master, text.encode())

    def see(self, words):
        """Wait for the words; what came before them is forgotten."""
        end = time.monotonic() + PATIENCE
        while words not in self.screen:
            assert time.monotonic() < end, f"no '{words}' in {self.screen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.screen += os.read(self.master, 4096).decode()
        self.screen = self.screen.split(words, 1)[1]


@pytest.fixture
def at_keyboard(dialog):
    """A function that starts clue_dialog at a keyboard: (keyboard, process)."""
    keyboard = Keyboard()

    def start(namespace, *first):
        process = dialog(namespace, stdin=keyboard.slave, stdout=keyboard.slave, stderr=keyboard.slave)
        for words in (*first, "Say what to look for"):
            keyboard.see(words)
        keyboard.see("> ")
        return keyboard, process
    yield start
    os.close(keyboard.master)
    os.close(keyboard.slave)


def test_lines_from_a_pipe(stage, embedded_engine, ambiguous, piped):
    play = stage(embedded_engine, turn_limit=1)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)  # another's, of long ago
    play.hear(String)
    play.person.reply("the left one")
    play.hear(GroundedObject)
    talk = piped(play.namespace)
    printed, errors = talk.communicate(f"{ambiguous.say}\n\nthe right one\n!\n", timeout=PATIENCE)
    lines = printed.splitlines()
    assert talk.returncode == 0 and not errors, errors
    assert lines[0] == f"person  {ambiguous.say}"  # not the latched result of another's
    told = [line for line in lines if not line.startswith("   ")]  # but for P(ambiguous), which may come a little later
    assert told[1].startswith("robot   ") and told[1].endswith("?") and told[2] == "person  the right one"
    assert told[3].startswith("robot   [") and "score" in told[3]
    assert told[4] == "person  !" and told[5].startswith("error   the instruction is empty") and len(told) == 6
    assert any("P(ambiguous)" in line for line in lines)


class Listener:
    """A person who only counts what is said."""

    def __init__(self):
        self.said = []

    def say(self, words):
        """Keep an instruction."""
        self.said.append(("instruction", words))

    def reply(self, words):
        """Keep an answer."""
        self.said.append(("answer", words))


def test_the_end_of_a_superseded_dialog_is_not_that_of_the_same_words_said_again():
    listener = Listener()
    talk = Conversation(listener)
    talk.tell("the mug")
    assert talk.hear(Question(request_id="1", text="which one?"))
    talk.tell("!the mug")
    superseded = GroundedObject(request_id="1", outcome=GroundedObject.OUTCOME_SUPERSEDED, instruction="the mug")
    assert not talk.hear(superseded) and not talk.hear(Question(request_id="1"))
    assert talk.hear(Question(request_id="2", text="which one?"))
    talk.tell("the left one")
    assert listener.said == [("instruction", "the mug"), ("instruction", "the mug"), ("answer", "the left one")]
    assert talk.hear(GroundedObject(outcome=GroundedObject.OUTCOME_GROUNDED, instruction="the mug"))


def test_a_parameter_of_another_type_is_one_sentence(piped):
    _, errors = piped("/nobody", "-p", "patience:=five").communicate(timeout=PATIENCE)
    assert "patience" in errors and "Traceback" not in errors


def test_no_node_and_a_node_that_goes(stage, embedded_engine, piped):
    lonely = piped("/nobody", "-p", "patience:=0.5")
    _, errors = lonely.communicate(timeout=PATIENCE)
    assert lonely.returncode == 1
    assert errors == "clue_node was not found within 0.5 s: start it with the same namespace and ROS_DOMAIN_ID\n"
    play = stage(embedded_engine)
    talk = piped(play.namespace)
    talk.stdin.write("the red mug\n")  # there is no image: it waits
    talk.stdin.flush()
    assert talk.stdout.readline() == "person  the red mug\n"
    play.until(lambda: play.view.session.request is not None)
    play.close()
    printed, errors = talk.communicate("the blue mug\n", timeout=PATIENCE)
    assert printed == "error   the node was shut down before the instruction was finished\nperson  the blue mug\n"
    assert talk.returncode == 1 and errors.startswith("clue_node has gone: start it")


def test_bytes_that_are_no_text_are_said_as_well_as_can_be(stage, embedded_engine, clear, dialog):
    play = stage(embedded_engine)
    play.show(clear.picture)
    talk = dialog(play.namespace, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    typed = b"\x00\x1b\n" + clear.say.encode().replace(b" ", b"\x00", 1) + b" caf\xe9\n"
    said, errors = talk.communicate(typed, timeout=PATIENCE)
    first, *rest = said.decode().splitlines()
    assert talk.returncode == 0 and not errors
    assert first.startswith(f"person  {clear.say} caf") and rest  # the robot's reply


def test_a_node_that_says_nothing(stage, embedded_engine, piped):
    play = stage(embedded_engine)  # there is no image: the instruction waits
    talk = piped(play.namespace, "-p", "patience:=10.0")
    _, errors = talk.communicate("the red mug\n", timeout=PATIENCE)
    assert talk.returncode == 1 and errors.startswith("clue_node said nothing for 10 s: was it started again")


def test_at_the_keyboard(stage, embedded_engine, ambiguous, clear, at_keyboard):
    play = stage(embedded_engine)
    play.show(ambiguous.picture)
    keyboard, process = at_keyboard(play.namespace)
    keyboard.type(ambiguous.say + "\n")
    keyboard.see("robot   do you mean")
    keyboard.type("\n   \n")  # nothing said
    play.show(clear.picture)
    keyboard.type(f"!{clear.say}\n")  # no answer, although a question is open
    keyboard.see(f"ended   superseded: {ambiguous.say}")
    keyboard.see("robot   [")
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)  # somebody else's, such as a program's
    keyboard.see("robot   do you mean")
    keyboard.type("\x04")  # Ctrl-D
    assert process.wait(PATIENCE) == 0
    keyboard, process = at_keyboard(play.namespace, f"about '{ambiguous.say}' the robot asks: do you mean")
    keyboard.type("the left one\n")
    assert any(list(message.dialog[1:2]) == ["the left one"] for message in [*play.rest(3.0)]
               if isinstance(message, GroundedObject))
    keyboard.type("\x04")
    assert process.wait(PATIENCE) == 0


def test_control_c_leaves_the_terminal_as_it_was(stage, embedded_engine, at_keyboard):
    play = stage(embedded_engine)
    keyboard, process = at_keyboard(play.namespace)
    keyboard.type("half an instruc")
    keyboard.see("instruc")
    time.sleep(0.3)  # while it handles a key, Python's readline would notice a signal with the next key only
    process.send_signal(2)
    assert process.wait(PATIENCE) == 0
    while select.select([keyboard.master], [], [], 0.1)[0]:
        keyboard.screen += os.read(keyboard.master, 4096).decode()
    flags = termios.tcgetattr(keyboard.slave)[3]
    assert flags & termios.ECHO and flags & termios.ICANON
    assert "Traceback" not in keyboard.screen


@pytest.mark.parametrize("then, is_open", [([], True), ([GroundedObject(request_id="r")], False), ([Question(request_id="r")], False),
                                           ([GroundedObject(request_id="another")], True)])
def test_a_question_that_was_asked_before_is_open_until_it_is_answered_or_its_dialog_ends(then, is_open):
    listener = Listener()
    listener.earlier = [Question(request_id="r", instruction="the mug", text="which one?"), *then]
    listener.listen = lambda seconds: listener.earlier.pop(0) if listener.earlier else None
    talk = Conversation(listener)
    assert ("about 'the mug' the robot asks: which one? The next line answers it" in talk.catch_up()) == is_open
    talk.tell("the left one")
    assert listener.said == [("answer" if is_open else "instruction", "the left one")]


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_described_in_a_line(outcome):
    message = GroundedObject(outcome=outcome.value, instruction="the mug", error="no image", label="mug",
                             box=CandidateBox(x1=1.0, y1=2.0, x2=3.0, y2=4.0), score=0.5, latency_ms=80.0)
    assert describe(message) == {
        Outcome.GROUNDED: "robot   [1 2 3 4] mug, score 0.50, 80 ms",
        Outcome.TURN_LIMIT: "robot   [1 2 3 4] mug, score 0.50, 80 ms, still in doubt",
        Outcome.QUESTION_TIMEOUT: "ended   question timeout: the mug", Outcome.SUPERSEDED: "ended   superseded: the mug",
        Outcome.CANCELLED: "ended   cancelled: the mug", Outcome.ERROR: "error   no image"}[outcome]


def test_a_verdict_is_described_in_a_line():
    assert describe(AmbiguityHeatmap(probability=0.873, threshold=0.4)).strip() == "P(ambiguous) 0.87, asks from 0.40"
