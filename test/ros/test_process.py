"""clue_node as a process of its own: what it starts with, memory, the network."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clue_ros.detector.network import channel_count
from clue_ros.model_folder import embedded
from clue_ros.msg import GroundedObject
from company import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Manager
from processes import SLOW_NODE, end, small, wait_for

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
    process = run_node("-p", "risk:=1.5", "-p", "rsik:=0.5", "-p", "session.risk:=0.1")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in output
    assert "parameter risk is 1.5: it must lie between 0 and 1" in output
    assert "there is no parameter 'rsik': is 'risk' meant?" in output and "there is no parameter 'session.risk'" in output


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
    shutil.copytree(embedded(), folder, ignore=shutil.ignore_patterns("adapter", "model.safetensors", "calibration.json"))
    shutil.copy(embedded() / "detector/model.safetensors", folder / "detector")
    side = json.loads((folder / "base/config.json").read_text())["vision_config"]["image_size"]
    size = Size(side=side, vision_width=768, vision_layers=8, vision_heads=8, vision_mlp=3072)
    detector = json.loads((folder / "detector/config.json").read_text())
    assert detector["channels"] == channel_count(detector["layers"], size.heads, closing=detector["closing"])
    assert detector["grid"] == size.side // size.patch and max(detector["layers"]) < size.layers
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
