"""The policy for SROS2 and the page about interfaces, each against what the running nodes really have."""

import gc
import re
import runpy
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from clue_ros.msg import GroundedObject
from clue_ros.ros import speaker
from clue_ros.ros.camera import Camera
from clue_ros.ros.detections import Detection2DArray
from clue_ros.ros.node import ClueNode
from clue_ros.ros.person import Person
from clue_ros.ros.request import Outcome
from graph import full_name, name_at, qos_of, rights_of, settled_rights

ROOT = Path(__file__).resolve().parents[2]
POLICY, PAGE = ROOT / "config" / "clue_policy.xml", ROOT / "docs" / "interfaces.md"
SPACE = "/interfaces"
COMPRESSED = "image_transport:=compressed, instead of image"
# The policy's words for what is added, and the parameters that add it.
VARIANTS = {"": {}, "depth:=true": {"depth": True}, COMPRESSED: {"image_transport": "compressed"},
            "use_sim_time:=true": {"use_sim_time": True}}
INSTALLED = ["vision_msgs installed"] if Detection2DArray is not None else []
OTHERS = ("clue_dialog", "clue_speaker", "clue_camera", "pick_place")
QOS = {"reliable": ("RELIABLE", "VOLATILE"), "best effort": ("BEST_EFFORT", "VOLATILE"),
       "latched": ("RELIABLE", "TRANSIENT_LOCAL")}


@pytest.fixture
def clue_node(ros):
    """A function that makes a clue_node with these parameters, instead of the one before; no model is read."""
    nodes = []

    def make(**parameters):
        end()
        given = [Parameter(name, value=value) for name, value in ({"autostart": False} | parameters).items()]
        nodes.append(ClueNode(None, namespace=SPACE, parameter_overrides=given))
        return nodes[-1]

    def end():
        while nodes:
            node = nodes.pop()
            node.close()
            node.destroy_node()
    yield make
    end()


# -- the policy ----------------------------------------------------------------------------------------------------------


def profile_of(node):
    """The node's profile in the policy, with its comments."""
    root = ET.parse(POLICY, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))).getroot()
    profile, = root.iterfind(f".//enclave[@path='/clue_ros/{node}']/profiles/profile")
    assert profile.get("node") == node and profile.get("ns") == "/"
    return profile


def rules(profile):
    """{(right, name)} that a profile allows outside of its comments."""
    return {(right, rule.text) for block in profile if block.tag is not ET.Comment
            for right, verdict in block.items() for rule in block if verdict == "ALLOW"}


def extras(profile):
    """{what it is for: {(right, name)}} of the comments that hold more rules."""
    texts = [c.text.strip().partition("\n") for c in profile if c.tag is ET.Comment]
    return {head.removeprefix("with "): rules(ET.fromstring(f"<profile>{body}</profile>")) for head, _, body in texts}


def allowed(node, *more, cameras=("",)):
    """{(right, full name)} that the policy allows a node in the namespace."""
    profile = profile_of(node)
    named = rules(profile).union(*(extras(profile)[words] for words in more))
    if COMPRESSED in more:
        named.remove(("subscribe", "image"))
    return {(right, full_name(name_at(camera, name), node, SPACE)) for right, name in named for camera in cameras}


@pytest.mark.parametrize("words", VARIANTS)
def test_the_policy_allows_what_the_node_has_and_no_more(clue_node, words):
    node = clue_node(**VARIANTS[words])
    wanted = allowed("clue_node", *filter(None, [words]), *INSTALLED)
    assert settled_rights(node, "clue_node", SPACE, wanted) == wanted


def test_the_policy_for_cameras_by_name(clue_node):
    node = clue_node(cameras=["front", "wrist"], depth=True)
    wanted = allowed("clue_node", "depth:=true", *INSTALLED, cameras=("front", "wrist"))
    assert settled_rights(node, "clue_node", SPACE, wanted) == wanted


def test_a_destroyed_node_leaves_the_network_before_any_garbage_is_collected(ros):
    gc.disable()
    try:
        node = ClueNode(None, namespace="/gone", parameter_overrides=[Parameter("autostart", value=False)])
        node.close()
        node.destroy_node()
        left = Person("left", namespace="/gone")
        assert left.get_node_names() and ("clue_node", "/gone") not in left.get_node_names_and_namespaces()
        left.destroy_node()
    finally:
        gc.enable()


def test_every_addition_to_the_policy_is_tried():
    assert set(extras(profile_of("clue_node"))) == {*filter(None, VARIANTS), "vision_msgs installed"}
    paths = [enclave.get("path") for enclave in ET.parse(POLICY).getroot().iter("enclave")]
    assert paths == [f"/clue_ros/{node}" for node in ("clue_node", *OTHERS)]


@pytest.mark.parametrize("name", OTHERS)
def test_the_policy_of_the_other_nodes(ros, monkeypatch, name):
    monkeypatch.setattr(speaker.shutil, "which", lambda program: program)
    example = runpy.run_path(str(ROOT / "examples" / "pick_place.py"))
    makers = {"clue_dialog": lambda: Person("clue_dialog", latched=True, namespace=SPACE),
              "clue_speaker": lambda: speaker.Speaker(namespace=SPACE),
              "clue_camera": lambda: Camera(manual=True, namespace=SPACE),
              "pick_place": lambda: example["PickPlace"](example["Answers"]([]), namespace=SPACE)}
    node = makers[name]()
    try:
        if name == "pick_place":
            example["Arm"](node, 0.0)
        assert settled_rights(node, name, SPACE, allowed(name)) == allowed(name)
    finally:
        node.destroy_node()


# -- the page ------------------------------------------------------------------------------------------------------------


def rows(heading):
    """The cells of the table under a heading, without the backquotes."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S).group(1)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def described():
    """{(right, full name): (type, QoS or None)} as the page has it."""
    page = {}
    for heading, right in (("Listens to", "subscribe"), ("Publishes", "publish")):
        page |= {(right, full_name(name, "clue_node", SPACE)): (kind, QOS[qos]) for name, kind, qos, _ in rows(heading)}
    for heading, right in (("Action", "execute"), ("Services", "reply")):
        page |= {(right, full_name(name, "clue_node", SPACE)): (kind, None) for name, kind, _ in rows(heading)}
    return page


def at_rest(read, seconds=20.0):
    """What it gives once that has not changed for a second: the graph may still hold a node that had the same name, and lack
    what the new one has just made."""
    values, end = [read()], time.monotonic() + seconds
    while len(values) < 5 or any(value != values[-1] for value in values[-5:]):
        assert time.monotonic() < end, "the graph does not come to rest"
        time.sleep(0.25)
        values.append(read())
    return values[-1]


def test_the_page_describes_what_the_node_has(clue_node):
    real = {}
    for parameters in VARIANTS.values():
        node = clue_node(**parameters)
        for (right, name), kind in at_rest(lambda node=node: rights_of(node, "clue_node", SPACE)).items():
            topic = right in ("publish", "subscribe")
            real[right, name] = kind, qos_of(node, "clue_node", SPACE, right, name) if topic else None
    page = described()
    if not INSTALLED:
        assert page.pop(("publish", f"{SPACE}/detections"))[0] == "vision_msgs/msg/Detection2DArray"
    assert page == real


def test_the_page_describes_the_other_nodes():
    for nodes, listens, publishes in rows("The other nodes"):
        own = rules(profile_of(nodes.partition("`")[0]))
        for right, cell in (("subscribe", listens), ("publish", publishes)):
            named = set(filter(None, re.split(r"[`, ]+", cell)))
            assert named == {name for kind, name in own if kind == right and name[0] != "/"}, nodes


def test_outcomes_have_the_numbers_of_the_message():
    for outcome in Outcome:
        assert outcome.value == getattr(GroundedObject, f"OUTCOME_{outcome.name}")
    assert GroundedObject().outcome not in [outcome.value for outcome in Outcome]  # an empty one is no success
