"""`clue_speaker`: says the robot's questions aloud, with espeak-ng or espeak.

    ros2 run clue_ros clue_speaker
    ros2 run clue_ros clue_speaker --ros-args -p voice:=en-gb -p words_per_minute:=140

Any text-to-speech node that listens to `speech` (std_msgs/String) can take its place.
"""

from __future__ import annotations

import shutil
import subprocess

from rclpy.node import Node
from std_msgs.msg import String

from clue_ros.ros.parameters import at_start
from clue_ros.ros.spinning import run_node
from clue_ros.ros.words import OnChange
from clue_ros.types import InputError

PROGRAMS = ("espeak-ng", "espeak")
SLOWEST, FASTEST = 80, 450  # words a minute


class Speaker(Node):
    """Speaks what comes on `speech`; a new text interrupts the one before, which is out of date then.

    Parameters: voice, one of `espeak-ng --voices`, empty for the program's own; words_per_minute, 80 to 450. InputError
    when a parameter cannot be used or there is no program to speak with.
    """

    def __init__(self, **options):
        self._speaking: subprocess.Popen | None = None  # first of all: whatever fails below, the node is destroyed
        super().__init__("clue_speaker", **options)
        voice = at_start(self, "voice", "")
        pace = at_start(self, "words_per_minute", 160)
        if not SLOWEST <= pace <= FASTEST:
            raise InputError(f"parameter words_per_minute is {pace}: it must lie between {SLOWEST} and {FASTEST}")
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise InputError("neither espeak-ng nor espeak is installed: apt install espeak-ng")
        # The text goes in as input: as an argument, one that begins with "-" would be an option.
        self._command = [program, "--stdin", "-s", str(pace), *(["-v", voice] if voice else [])]
        self._words = OnChange(self.get_logger())
        self.create_subscription(String, "speech", self._say, 10)
        self.create_timer(0.5, self._look_after)

    def silence(self) -> None:
        """Break off what is being said."""
        if self._speaking is None:
            return
        self._speaking.terminate()
        try:
            self._speaking.wait(1.0)
        except subprocess.TimeoutExpired:  # it waits for a sound card that does not answer
            self._speaking.kill()
            self._speaking.wait()
        self._speaking = None

    def destroy_node(self) -> None:
        """Nobody goes on speaking for a node that is gone."""
        self.silence()
        super().destroy_node()

    def _say(self, msg: String) -> None:
        self.silence()
        if not msg.data.strip():
            return
        try:
            self._speaking = subprocess.Popen(self._command, stdin=subprocess.PIPE)
            with self._speaking.stdin as text:
                text.write(msg.data.encode())
        except BrokenPipeError:
            pass  # it ended before it had listened; `_look_after` tells
        except OSError as error:
            self._words.warn("speech", f"{self._command[0]} cannot be started: {error}")

    def _look_after(self) -> None:
        """Say in the log when the program failed, which nobody would hear."""
        if self._speaking is None or (code := self._speaking.poll()) is None:
            return
        self._speaking = None
        if code:
            self._words.warn("speech", f"{self._command[0]} ended with exit code {code}: is there a sound card, and the "
                                       "voice it was told to use?")
        else:
            self._words.clear("speech")


def main(args: list[str] | None = None) -> None:
    """Speak until stopped; exit code 1 when there is nothing to speak with."""
    run_node("clue_speaker", Speaker, args)


if __name__ == "__main__":
    main()
