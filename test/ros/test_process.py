"""clue_node as a process of its own: signals, parameters, memory."""

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from action_msgs.msg import GoalStatus
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from clue_ros.action import Ground
from clue_ros.model_folder import embedded
from clue_ros.msg import GroundedObject
from company import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Manager

NODE = ("-m", "clue_ros.ros.node")
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


# The node, telling of everything that looks for a network, also where whoever looked goes on when there is none. ROS itself
# does not use Python's sockets.
WATCHED_NODE = ("-c", """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("NETWORK", event, arguments[-1] if event == "socket.connect" else arguments, flush=True)
        raise OSError("there is no network in this test")
sys.addaudithook(watch)
from clue_ros.ros import node
node.main()
""")
NUMBERS = itertools.count()


@pytest.fixture
def namespace():
    """One of this test's own: a killed node haunts its namespace for a while."""
    return f"/process{next(NUMBERS)}"


@pytest.fixture
def run_node(namespace):
    """A function that starts a node in the namespace; it is killed after the test."""
    with contextlib.ExitStack() as running:
        def start(*arguments, code=NODE):
            process = running.enter_context(subprocess.Popen(
                [sys.executable, *code, "--ros-args", "-r", f"__ns:={namespace}", *arguments], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, start_new_session=True))
            running.callback(process.kill)
            return process
        yield start


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("state", ["loading the model", "say what to look for on"])
def test_a_signal_ends_it_within_two_seconds(run_node, state, number):
    process = run_node()
    wait_for(state, process)
    assert end(process, number) < 2.0


def test_a_signal_in_a_look_ends_the_goal_and_the_process(run_node, namespace, company, clear):
    play = company(namespace)
    play.camera.show(small(clear))
    process = run_node(code=SLOW_NODE)
    client = play.ground_client()
    assert play.person.wait_for_node(20.0)
    sent = client.send_goal_async(Ground.Goal(instruction=clear.say))
    play.until(sent.done)
    result = sent.result().get_result_async()
    wait_for("looking", process)
    assert end(process) < 2.0
    play.until(result.done)
    assert result.result().status == GoalStatus.STATUS_ABORTED
    sentence = "the node was shut down before the instruction was finished"
    assert result.result().result.grounding.error == sentence == play.hear(GroundedObject).error
    play.until(lambda: not play.person.connected(), 2.0)  # it took its leave: nobody waits for it


def test_a_node_that_is_killed_in_a_look_is_started_again_and_answers(run_node, namespace, company, clear):
    """The camera and the person never stopped; of the killed node they hear nothing, of the new one the box."""
    play = company(namespace)
    play.camera.show(small(clear))
    killed = run_node(code=SLOW_NODE)
    assert play.person.wait_for_node(60.0)
    play.person.say(clear.say)
    wait_for("looking", killed)
    killed.kill()
    assert killed.wait(5) == -signal.SIGKILL
    assert not [m for m in play.rest() if isinstance(m, GroundedObject)]
    started = run_node()
    wait_for("say what to look for on", started)
    for _ in range(20):  # what is said before the new node is discovered reaches nobody
        play.person.say(clear.say)
        if any(isinstance(m, GroundedObject) and m.outcome == GroundedObject.OUTCOME_GROUNDED for m in play.rest(1.5)):
            break
    else:
        raise AssertionError("the new node does not answer")
    assert end(started) < 2.0


@pytest.mark.parametrize("allow", [None, False, True])
def test_the_network_is_asked_only_where_that_is_allowed(run_node, tmp_path, allow):
    """None: for the embedded model; else for a base of the Hugging Face hub that is not on disk."""
    folder = shutil.copytree(embedded(), tmp_path / "model", ignore=shutil.ignore_patterns("base"))
    (folder / "base").mkdir()
    (folder / "base/config.json").write_text(json.dumps({"clue_base": "clue-ros/no-such-base"}))
    given = () if allow is None else ("-p", f"model:={folder}", "-p", f"allow_download:={str(allow).lower()}")
    process = run_node(*given, code=WATCHED_NODE)
    printed = wait_for({None: "say what to look for on", False: "clue-ros/no-such-base, which is no folder and not in the Hugging Face cache", True: "NETWORK"}[allow],
                       process)
    assert any(line.startswith("NETWORK") and "huggingface.co" in line for line in printed) == (allow is True), printed
    assert allow or "hf_xet" not in Path(f"/proc/{process.pid}/maps").read_text()  # it would look past Python
    assert end(process) < 2.0


def test_a_bad_or_misspelt_parameter_is_told_at_start(run_node):
    process = run_node("-p", "risk:=1.5", "-p", "rsik:=0.5")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in output
    assert "parameter risk is 1.5: it must lie between 0 and 1" in output
    assert "there is no parameter 'rsik': is 'risk' meant?" in output


@pytest.mark.parametrize("program, words", [
    ("node", ("-r", "image:=/camera//raw")), ("node", ("--params-file", "typo.yaml")), ("node", ("-p", "cameras:=[front, 1]")),
    ("terminal", ("-p", "patience:=")), ("speaker", ("--no-such-flag",)), ("camera", ("-r", "image:=/camera//raw"))])
def test_ros_arguments_that_cannot_be_used_end_in_a_sentence(program, words):
    done = subprocess.run([sys.executable, "-m", f"clue_ros.ros.{program}", "--ros-args", *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "these ROS arguments cannot be used: " in done.stderr


def test_an_empty_list_is_told_at_start(run_node):
    process = run_node("-p", "cameras:=[]")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in output
    assert "a parameter was given without a value, or as an empty list: give it one, or leave it out" in output


def test_torch_is_in_memory_only_once_a_model_is_loaded():
    subprocess.run([sys.executable, "-c", "import sys, clue_ros.ros.node; assert 'torch' not in sys.modules"], check=True)


def resident(process):
    """Megabytes of memory the process holds now."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def large_model(folder):
    """A model with the embedded one's grid and words but larger, and random: the megabytes of its weights."""
    from transformers import AutoTokenizer

    from clue_ros.vlm.build import Size, new_model
    shutil.copytree(embedded(), folder, ignore=shutil.ignore_patterns("adapter", "model.safetensors"))
    shutil.copy(embedded() / "detector/model.safetensors", folder / "detector")
    side = json.loads((folder / "base/config.json").read_text())["vision_config"]["image_size"]
    size = Size(side=side, vision_width=768, vision_layers=8, vision_heads=8, vision_mlp=3072)
    detector = json.loads((folder / "detector/config.json").read_text())
    assert (detector["channels"], detector["grid"]) == (size.heads, size.side // size.patch)
    model = new_model(size, AutoTokenizer.from_pretrained(folder / "base"))
    model.save_pretrained(folder / "base")
    return sum(p.numel() for p in model.parameters()) * torch.float32.itemsize / 2 ** 20


def test_a_model_that_memory_is_too_small_for_and_then_one_that_fits(run_node, namespace, company, tmp_path, clear):
    """The system itself refuses the memory, as it does in a container."""
    play = company(namespace)
    weights = large_model(tmp_path / "large")
    process = run_node("-p", "autostart:=false")
    assert play.person.wait_for_node(60.0)
    manage = Manager(play)
    assert manage.do(CONFIGURE, CLEANUP)  # the libraries are in memory from now on
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
    limit = int(pages * resource.getpagesize() + 0.6 * weights * 2 ** 20)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    assert manage.set("model", str(tmp_path / "large")) == "" and not manage.do(CONFIGURE)
    play.person.say("the red mug")
    error = play.hear(GroundedObject).error
    assert error.startswith("out of memory while loading the model: use a smaller model"), error
    assert manage.set("model", "tabletop") == "" and manage.do(CONFIGURE, ACTIVATE)
    play.camera.show(small(clear))
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    assert end(process) < 2.0


def test_cleanup_gives_the_memory_back(run_node, namespace, company, tmp_path, clear):
    """Also prints what each state takes: pytest -s test/ros/test_process.py -k memory"""
    play = company(namespace)
    weights = large_model(tmp_path / "large")
    process = run_node("-p", "autostart:=false")
    assert play.person.wait_for_node(60.0)
    manage, table = Manager(play), {}
    table["unconfigured, at the start"] = resident(process)

    assert manage.do(CONFIGURE)
    table["inactive, the embedded model loaded"] = resident(process)
    assert manage.do(ACTIVATE)
    play.camera.show(small(clear))
    for _ in range(10):
        play.person.say(clear.say)
        assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    table["active, after 10 looks"] = resident(process)
    play.camera.show(None)
    assert manage.do(DEACTIVATE, CLEANUP)
    table["unconfigured, cleaned up"] = without = resident(process)

    assert manage.set("model", str(tmp_path / "large")) == ""
    for turn in range(1, 4):
        assert manage.do(CONFIGURE)
        table[f"inactive, {weights:.0f} MB of weights loaded, time {turn}"] = loaded = resident(process)
        assert manage.do(CLEANUP)
        table[f"unconfigured, cleaned up, time {turn}"] = left = resident(process)
        assert loaded - left > 0.8 * weights and left - without < 0.2 * weights, table
    print("\n" + "\n".join(f"{state:<55} {megabytes:5.0f} MB" for state, megabytes in table.items()))
    assert end(process) < 2.0


def test_a_request_that_rclpy_cannot_read_is_not_the_end_of_the_camera(ros, run_node, namespace):
    camera = run_node(code=("-m", "clue_ros.ros.camera"))
    wait_for("showing", camera)
    node, executor = Node("somebody", namespace=namespace), SingleThreadedExecutor()
    executor.add_node(node)
    try:
        client = node.create_client(SetParameters, "clue_camera/set_parameters")
        assert client.wait_for_service(20.0)
        client.call_async(SetParameters.Request(parameters=[ParameterMessage(name="rate", value=ParameterValue(type=99))]))
        wait_for("a message or request was dropped", camera)
        rate = ParameterMessage(name="rate", value=ParameterValue(type=3, double_value=9.0))
        answer = client.call_async(SetParameters.Request(parameters=[rate]))
        executor.spin_until_future_complete(answer, 20.0)
        result, = answer.result().results
        assert not result.successful and "read-only" in result.reason  # it is read once, at the start
    finally:
        node.destroy_node()
    assert end(camera) < 5
