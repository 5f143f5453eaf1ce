"""`clue_dialog`: talk to the node at the terminal.

    ros2 run clue_ros clue_dialog
    printf 'pick up the white bowl\\nthe left one\\n' | ros2 run clue_ros clue_dialog

A line is the answer while a question is open, whoever's instruction it is about and also if it was asked before, and an
instruction otherwise; with `!` before it, it is an instruction in any case. Ctrl-D ends. Lines from a pipe or a file are
taken one at a time, each when the robot has replied to the one before. Parameter: patience, seconds to wait for clue_node
to appear.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable

import rclpy
from rclpy.signals import SignalHandlerOptions

from clue_ros.msg import AmbiguityHeatmap, GroundedObject, Question
from clue_ros.ros.begin import begin
from clue_ros.ros.parameters import at_start
from clue_ros.ros.person import OUTCOMES, Person
from clue_ros.ros.spinning import spinning
from clue_ros.ros.words import shown
from clue_ros.types import InputError

PROMPT = "> "
EARLIER = 0.5  # seconds in which the latched results of earlier instructions arrive
CURE = "start it with the same namespace and ROS_DOMAIN_ID"
GONE = f"clue_node has gone: {CURE}"


def describe(message: AmbiguityHeatmap | Question | GroundedObject) -> str:
    """One line for the terminal; "" where there is nothing to tell."""
    if isinstance(message, Question):
        return f"robot   {shown(message.text)}" if message.text else ""
    if isinstance(message, AmbiguityHeatmap):
        return f"        P(ambiguous) {message.probability:.2f}, asks from {message.threshold:.2f}"
    if message.outcome == GroundedObject.OUTCOME_ERROR:
        return f"error   {shown(message.error)}"
    if message.outcome not in (GroundedObject.OUTCOME_GROUNDED, GroundedObject.OUTCOME_TURN_LIMIT):
        return f"ended   {OUTCOMES[message.outcome]}: {shown(message.instruction)}"
    b = message.box
    doubt = "" if message.outcome == GroundedObject.OUTCOME_GROUNDED else ", still in doubt"
    return (f"robot   [{b.x1:.0f} {b.y1:.0f} {b.x2:.0f} {b.y2:.0f}] {shown(message.label)}, score {message.score:.2f}, "
            f"{message.latency_ms:.0f} ms{doubt}")


class Conversation:
    """Whose turn it is. person: one who hears of questions as they are latched. question: the open one, None when none is."""

    def __init__(self, person: Person):
        self.person = person
        self.question: Question | None = None
        self._said = ""
        self._superseded = ""  # the instruction before it, while its end has not been heard

    def catch_up(self) -> str:
        """Hear what is still on the topics of before; a sentence about the question that is open, "" where none is."""
        while (message := self.person.listen(EARLIER)) is not None:
            self.hear(message)
        if self.question is None:
            return ""
        return (f"about '{shown(self.question.instruction)}' the robot asks: {shown(self.question.text)} The next line answers it, and with ! "
                "before it is an instruction")

    def tell(self, line: str) -> None:
        """Send a line the person gave, as an answer or as an instruction."""
        answers, self.question = self.question is not None and not line.startswith("!"), None
        if answers:
            self.person.reply(line)
        else:
            self._superseded = self._said if line.startswith("!") else ""
            self._said = line.removeprefix("!").strip()
            self.person.say(self._said)

    def hear(self, message: AmbiguityHeatmap | Question | GroundedObject) -> bool:
        """Note what came back; whether it is the person's turn now."""
        if isinstance(message, Question):
            self.question = message if message.text else None
            return self.question is not None
        if isinstance(message, GroundedObject):
            if self.question is not None and message.request_id == self.question.request_id:  # that dialog is over
                self.question = None
            if message.outcome == GroundedObject.OUTCOME_SUPERSEDED and message.instruction == self._superseded:
                self._superseded = ""
                return False  # also where the same words were said again: their own end is still to come
            return message.instruction == self._said
        return False


def talk_by_lines(conversation: Conversation, lines: Iterable[str], patience: float) -> None:
    """Each line, when the robot has replied to the one before; ends with the last reply, or when the node has gone or says
    nothing for `patience` seconds."""
    person = conversation.person
    for line in filter(None, map(_words, lines)):
        print(f"person  {line}", flush=True)
        conversation.tell(line)
        persons_turn, end = False, time.monotonic() + patience
        while not persons_turn:
            message = person.listen(0.2)
            if message is not None:
                persons_turn, end = conversation.hear(message), time.monotonic() + patience
                if told := describe(message):
                    print(told, flush=True)
            elif not person.connected():
                sys.exit(GONE)
            elif time.monotonic() > end:
                sys.exit(f"clue_node said nothing for {patience:g} s: was it started again, or is it still loading its model? "
                         "Say it again, or give a greater patience")


def _words(line: str) -> str:
    """What of a line can be said: no control characters, which would end it on its way, and no blanks around it."""
    return "".join(c if c.isprintable() else " " for c in line).strip()


def talk_at_keyboard(conversation: Conversation) -> None:
    """Lines as they are typed, replies as they come; ends with the input."""
    import readline  # input() then has a history, and tells what stands at the prompt

    person = conversation.person

    def show(text: str) -> None:
        print(f"\r\033[K{text}\n{PROMPT}{readline.get_line_buffer()}", end="", flush=True)

    def echo() -> None:
        there = True
        while rclpy.ok():
            message = person.listen(0.2)
            if message is not None:
                conversation.hear(message)
                if told := describe(message):
                    show(told)
            elif there != (there := person.connected()):
                conversation.question = None  # it went with the node
                show("        clue_node is back" if there else f"error   {GONE}")

    print("Say what to look for, for example: pick up the red mug   (Ctrl-D ends)", flush=True)
    threading.Thread(target=echo, name="echo", daemon=True).start()
    try:
        while True:
            if line := _words(input(PROMPT)):
                conversation.tell(line)
    except EOFError:
        print()


def main(args: list[str] | None = None) -> None:
    """Talk until the input ends; exit code 1 when there is no node to talk to."""
    # Python's own handlers: Ctrl-C must get out of input(), and leave the terminal as it was.
    begin(args, signal_handler_options=SignalHandlerOptions.NO)
    person = Person("clue_dialog", latched=True)
    try:
        patience = at_start(person, "patience", 60.0)
    except InputError as error:
        sys.exit(str(error))
    with spinning(person, patience=1.0):
        try:
            if not person.wait_for_node(patience):
                sys.exit(f"clue_node was not found within {patience:g} s: {CURE}")
            conversation = Conversation(person)
            if sentence := conversation.catch_up():
                print(f"        {sentence}", flush=True)
            sys.stdin.reconfigure(errors="replace")  # bytes that are no text of this locale
            if sys.stdin.isatty():
                talk_at_keyboard(conversation)
            else:
                talk_by_lines(conversation, sys.stdin, patience)
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
