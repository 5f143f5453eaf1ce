"""The speaker with a program on PATH that writes down what it is told to say."""

import os
import subprocess
import sys
import time

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from clue_ros.types import InputError

PROGRAM = """#!/bin/sh
# Says what it reads for 20 seconds, or fails on "cough".
trap 'echo "broken off: $text" >>"$0.log"; kill $!; exit 143' TERM
text=$(/bin/cat)
echo "$*: $text" >>"$0.log"
[ "$text" = cough ] && exit 3
/bin/sleep 20 &
wait $!
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The folder of an espeak-ng that writes espeak-ng.log; nothing else is on PATH."""
    (tmp_path / "espeak-ng").write_text(PROGRAM)
    (tmp_path / "espeak-ng").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "espeak-ng"


@pytest.fixture
def speaker(ros, program):
    """The speaker, a publisher to it, and a function that spins until the log's last line is the one wanted."""
    from clue_ros.ros.speaker import Speaker
    speaker, robot = Speaker(namespace="/aloud"), Node("robot", namespace="/aloud")
    publisher = robot.create_publisher(String, "speech", 10)
    executor = SingleThreadedExecutor()
    for node in (speaker, robot):
        executor.add_node(node)

    def until(condition, seconds=10.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.02)
    until(publisher.get_subscription_count)
    yield speaker, publisher, until
    speaker.silence()
    for node in (speaker, robot):
        node.destroy_node()


def heard(program):
    """What the program wrote."""
    log = program.with_name("espeak-ng.log")
    return log.read_text().splitlines() if log.exists() else []


def test_a_newer_question_interrupts_the_older(speaker, program):
    _, publisher, until = speaker
    for text in ("the left one?", "-w /tmp/x; `reboot`", "\u202eright \"one\""):
        publisher.publish(String(data=text))
        until(lambda: any(line.endswith(text) for line in heard(program)))
    assert heard(program) == ["--stdin -s 160: the left one?", "broken off: the left one?",
                              "--stdin -s 160: -w /tmp/x; `reboot`", "broken off: -w /tmp/x; `reboot`",
                              "--stdin -s 160: \u202eright \"one\""]


def test_an_empty_text_only_silences(speaker, program):
    _, publisher, until = speaker
    publisher.publish(String(data="the left one?"))
    until(lambda: heard(program))
    publisher.publish(String(data="  "))
    until(lambda: heard(program)[-1].startswith("broken off"))
    assert len(heard(program)) == 2


def test_a_program_that_fails_is_told_once_and_the_next_text_is_said(speaker, program, capfd):
    node, publisher, until = speaker
    for count in (1, 2):
        publisher.publish(String(data="cough"))
        until(lambda: len(heard(program)) == count and node._speaking is None)
    assert capfd.readouterr().err.count(f"{program} ended with exit code 3: is there a sound card") == 1
    publisher.publish(String(data="better"))
    until(lambda: heard(program)[-1].endswith("better"))


def test_a_program_that_is_gone_is_told_and_the_speaker_lives_on(speaker, program, capfd):
    node, publisher, until = speaker
    program.rename(program.with_name("hidden"))
    publisher.publish(String(data="which one?"))
    until(lambda: "espeak-ng cannot be started" in "".join(capfd.readouterr()))
    program.with_name("hidden").rename(program)
    publisher.publish(String(data="the red one?"))
    until(lambda: heard(program)[-1:] == ["--stdin -s 160: the red one?"])


@pytest.mark.parametrize("name, value", [("voice", "en"), ("words_per_minute", 200)])
def test_what_is_read_at_the_start_cannot_be_set_later(speaker, name, value):
    result, = speaker[0].set_parameters([Parameter(name, value=value)])
    assert not result.successful and "read-only" in result.reason


def test_without_a_program_it_says_what_to_install(tmp_path):
    done = subprocess.run([sys.executable, "-m", "clue_ros.ros.speaker"], text=True, timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=os.environ | {"PATH": str(tmp_path)})
    assert done.returncode == 1 and "neither espeak-ng nor espeak is installed: apt install espeak-ng" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("value", [5, "fast"])
def test_parameters_that_cannot_be_used(ros, program, value):
    from clue_ros.ros.speaker import Speaker
    with pytest.raises(InputError, match="words_per_minute"):
        Speaker(parameter_overrides=[Parameter("words_per_minute", value=value)])


def test_the_voice_and_the_pace_are_the_parameters(ros, program):
    from clue_ros.ros.speaker import Speaker
    speaker = Speaker(parameter_overrides=[Parameter("voice", value="en-gb"), Parameter("words_per_minute", value=140)])
    speaker._say(String(data="the left one?"))
    end = time.monotonic() + 10
    while not heard(program) and time.monotonic() < end:
        time.sleep(0.02)
    assert heard(program) == ["--stdin -s 140 -v en-gb: the left one?"]
    speaker.silence()
    speaker.destroy_node()
