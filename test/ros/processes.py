"""clue_node as a process of its own: what is run, what it prints, and its end."""

import os
import signal
import threading
import time

# The embedded model, looking again and again for a minute: a model that is slow because it computes, not because it sleeps.
SLOW_NODE = ("-c", """
import time
from clue_ros.ros import node

class Slow:
    def __init__(self, engine):
        self.engine, self.threshold, self.calibration = engine, engine.threshold, engine.calibration

    def look(self, frame, dialog):
        print("looking", flush=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            decision = self.engine.look(frame, dialog)
        return decision

node.main(load=lambda settings, tell: Slow(node.load_engine(settings, tell)))
""")


def small(step):
    """The step's picture at half its size: between processes a large one, sent with best effort, may get lost for long."""
    return step.picture.rgb[::2, ::2]


def wait_for(words, process):
    """What the process prints until the words come, a minute at most."""
    printed = []
    bound = threading.Timer(60.0, process.kill)
    bound.start()
    try:
        for line in process.stdout:
            printed.append(line)
            if words in line:
                return printed
    finally:
        bound.cancel()
    raise AssertionError("".join(printed))


def end(process, number=signal.SIGINT):
    """Seconds until the signal ended it, in order."""
    start = time.monotonic()
    os.kill(process.pid, number)
    rest, _ = process.communicate(timeout=20)
    seconds = time.monotonic() - start
    assert process.returncode == 0 and "Traceback" not in rest, rest
    return seconds
