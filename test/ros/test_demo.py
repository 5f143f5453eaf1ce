"""The demo's script and pictures, the camera, and the demo itself with the real embedded model."""

import json
import math
import re
import shutil
import signal
import socket
import subprocess
import sys

import cv2
import numpy as np
import psutil
import pytest
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from clue_ros.ros import demo
from clue_ros.ros.camera import Camera
from clue_ros.ros.pictures import demo_folder, list_folder, open_source, read_picture
from clue_ros.ros.process import free_domain
from clue_ros.ros.script import BOX, QUESTION, live_script, read_script
from clue_ros.tabletop import questions
from clue_ros.types import InputError
from processes import end, wait_for


def test_the_script_shows_both_ends_and_is_true(script):
    assert {step.expect for step in script} == {QUESTION, BOX}
    for step in script:
        objects = step.picture.scene.objects
        assert len(step.candidates) == 1 if step.expect == BOX else len(step.candidates) > 1
        meant = objects[step.target]
        assert meant.shape in step.say and meant.colour in step.say
        alike = {i for i, o in enumerate(objects) if (o.shape, o.colour) == (meant.shape, meant.colour)}
        assert alike == set(step.candidates)
        if step.expect == QUESTION:
            assert questions.ask(objects, step.candidates) is not None


def test_the_shipped_pictures_are_few_and_fit_their_scenes():
    assert sum(path.stat().st_size for path in demo_folder().iterdir()) < 3_000_000
    for path, scene in list_folder(demo_folder()):
        picture = read_picture(path, scene)
        assert picture.rgb.shape == (480, 640, 3)
        for k in range(len(picture.scene.objects)):
            box = picture.box(k)
            assert 0 <= box.x1 < box.x2 <= 640 and 0 <= box.y1 < box.y2 <= 480


@pytest.mark.parametrize("change, words", [
    ({"image": "no.jpg"}, "no.jpg is not in scenes.jsonl"), ({"expect": "box "}, "expect is 'question' or 'box'"),
    ({"target": 7}, "target one of candidates"), ({"target": 90, "candidates": [90]}, "the scene has only"),
    ({"colour": "red"}, "it needs exactly"),
])
def test_a_script_that_does_not_fit_says_where(tmp_path, change, words):
    folder = shutil.copytree(demo_folder(), tmp_path / "demo")
    steps = json.loads((folder / "demo.json").read_text())
    steps[1].update(change)
    (folder / "demo.json").write_text(json.dumps(steps))
    with pytest.raises(InputError, match="step 2") as error:
        read_script(folder)
    assert words in str(error.value)


def test_a_live_camera_without_a_renderer_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(InputError, match="a live camera needs a renderer"):
        open_source("live")


def test_live_tables_are_in_turn_ambiguous_and_clear():
    try:
        steps = live_script(seed=3, count=2)
    except InputError as error:
        pytest.skip(str(error))
    assert [step.expect for step in steps] == [QUESTION, BOX]
    assert all(step.target in step.candidates and step.picture.rgb.shape == (480, 640, 3) for step in steps)


def test_camera_sources(tmp_path):
    shown = open_source("")
    names = [shown().name for _ in range(len(list_folder(demo_folder())) + 1)]
    assert names[0] == names[-1] and len(set(names)) == len(names) - 1
    only = open_source(str(demo_folder() / names[1]))
    assert only().name == only().name == names[1]
    (tmp_path / "broken.png").write_text("no picture")
    for source, words in ((tmp_path / "broken.png", "is no readable image"),
                          (tmp_path / "no.png", "cannot be read: No such file"), (tmp_path, "is no readable image")):
        with pytest.raises(InputError, match=words):
            open_source(str(source))
    shutil.copy(demo_folder() / names[1], tmp_path / "a.png")
    shown = open_source(str(tmp_path))
    assert shown().name == "a.png"
    with pytest.raises(InputError, match="broken.png is no readable image"):
        shown()
    assert shown().name == "a.png"


def test_command_line(capsys):
    with pytest.raises(SystemExit):
        demo.main(["--image", "a.png"])
    assert "--image needs --say" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        demo.main(["--image", "nowhere.png", "--say", "the mug"])
    assert "nowhere.png cannot be read: No such file" in str(exit_.value)


def run_demo(*arguments):
    """(exit code, what it printed)."""
    done = subprocess.run([sys.executable, "-m", "clue_ros.ros.demo", *arguments], capture_output=True, text=True,
                          timeout=150)
    return done.returncode, done.stdout + done.stderr


def test_the_demo(tmp_path, script):
    """Node in a process of its own, camera, person: every step as it should be, a PNG for each look."""
    code, printed = run_demo("--out", str(tmp_path))
    assert code == 0, printed
    assert "every instruction went as it should" in printed and "Traceback" not in printed
    assert {path.name.split("-")[0] for path in tmp_path.glob("*.png")} == {f"step{k + 1}" for k in range(len(script))}
    assert read_picture(next(tmp_path.glob("*.png"))).rgb.shape[1] == 640


def test_one_step_on_any_picture(tmp_path, script):
    step = script[0]
    image = demo_folder() / step.picture.name
    code, printed = run_demo("--image", str(image), "--say", step.say, "--out", str(tmp_path))
    assert code == 0, printed
    assert (tmp_path / "step1-look1.png").is_file() and step.say in printed


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_ends_the_demo_and_its_node_without_a_traceback(tmp_path, number, code):
    demo = subprocess.Popen([sys.executable, "-m", "clue_ros.ros.demo", "--out", str(tmp_path)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)
    node = int(re.search(r"clue_node runs as process (\d+)", demo.stdout.readline()).group(1))
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=30)
    assert demo.returncode == code and "Traceback" not in errors
    assert not psutil.pid_exists(node)


def test_the_demo_says_what_failed(tmp_path):
    code, printed = run_demo("--model", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert code == 1 and "demo failed: step 1 ended in an error: " in printed
    assert "none" in printed and "Traceback" not in printed


def test_a_domain_whose_port_is_taken_is_not_free():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 7410 + 250 * (taken := free_domain())))
        assert free_domain() != taken


def test_a_large_photograph_is_made_smaller(tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.full((300, 4000, 3), 90, np.uint8))
    assert read_picture(tmp_path / "large.png").rgb.shape == (96, 1280, 3)


@pytest.mark.parametrize("name, value", [("rate", math.nan), ("rate", math.inf), ("rate", 0.0), ("hold", math.inf), ("seed", -1)])
def test_a_camera_says_what_it_can_be_set_to(ros, name, value):
    with pytest.raises(InputError, match="give a rate above 0 up to 1000"):
        Camera(parameter_overrides=[Parameter(name, value=value)])


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
