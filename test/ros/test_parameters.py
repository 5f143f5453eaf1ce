"""The table of parameters, the file that repeats it, and what happens to wrong values."""

import copy
import dataclasses
import runpy
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from clue_ros.msg import GroundedObject
from clue_ros.ros import parameters
from clue_ros.ros.conversions import frame_from_image
from clue_ros.ros.parameters import ROWS, TABLE, Settings
from clue_ros.types import InputError
from company import Manager

CONFIG = Path(__file__).resolve().parents[2] / "config" / "clue.yaml"


@pytest.fixture
def bare(ros):
    """A function that makes a node with these parameters given."""
    nodes = []

    def make(**given):
        nodes.append(Node("parameters", automatically_declare_parameters_from_overrides=True,
                          parameter_overrides=[Parameter(k, value=v) for k, v in given.items()]))
        return nodes[-1]
    yield make
    for node in nodes:
        node.destroy_node()


def test_the_table_the_settings_and_the_file_agree():
    assert [f.name for f in dataclasses.fields(Settings)] == list(ROWS)
    given = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    assert given == {row.name: row.default for row in TABLE}
    for row in TABLE:
        assert row.check(row.default) == row.default
        assert row.description.endswith(".") and row.descriptor().read_only == row.read_only


def test_the_page_in_the_docs_is_up_to_date():
    tool = runpy.run_path(str(CONFIG.parents[1] / "tools" / "parameter_docs.py"))
    assert tool["PAGE"].read_text(encoding="utf-8") == tool["page"](), "run tools/parameter_docs.py"
    assert tool["page"]().count("\n| `") == len(TABLE)


def test_defaults_and_overrides(bare):
    node = bare(risk=1, model="mine")  # a whole number will do where a number is meant
    settings = parameters.declare(node)
    assert settings.risk == 1.0 and settings.model == "mine" and settings.turn_limit == 3
    assert node.describe_parameter("risk").floating_point_range[0].to_value == 1.0
    assert settings.limits().turn_limit == 3


@pytest.mark.parametrize("given, words", [
    ({"risk": 1.5}, "parameter risk is 1.5: it must lie between 0 and 1"),
    ({"turn_limit": -1}, "parameter turn_limit is -1: it must lie between 0 and 20"),
    ({"turn_limit": 1.5}, "it must be a whole number, such as 3"),
    ({"allow_download": "yes"}, "it must be a truth value"),
    ({"image_transport": "theora"}, "it must be one of raw, compressed"),
    ({"max_frame_age": float("nan")}, "it must lie between"),
    ({"cameras": "front"}, "parameter cameras is 'front': it must be a list of names, such as ['']"),
    ({"cameras": [1, 2]}, "parameter cameras has the name 1: a name is made of letters, digits and _"),
    ({"cameras": ["front", "2nd"]}, "parameter cameras has the name '2nd': a name is made of letters"),
    ({"cameras": ["front camera"]}, "begins with a letter, has 64 characters"),
    ({"cameras": ["cell/front"]}, "begins with a letter, has 64 characters"),
    ({"cameras": ["", "heatmap"]}, "is not heatmap"),
    ({"cameras": ["a" * 65]}, "has 64 characters at most"),
    ({"cameras": ["wrist", "wrist"]}, "it must hold one name or more, each once"),
])
def test_wrong_values_are_refused_in_a_sentence(bare, given, words):
    with pytest.raises(InputError) as error:
        parameters.declare(bare(**given))
    assert words in str(error.value)


def test_changes_at_run_time(bare):
    node = bare()
    parameters.declare(node)
    node.add_on_set_parameters_callback(parameters.verdict)
    assert node.set_parameters([Parameter("turn_limit", value=5)])[0].successful
    assert parameters.read(node).turn_limit == 5
    assert not node.set_parameters([Parameter("autostart", value=False)])[0].successful  # read at start-up only
    result = node.set_parameters([Parameter("overlay_alpha", value="strong")])[0]
    assert result.reason == "parameter overlay_alpha is 'strong': it must be a number, such as 0.55"
    assert not node.set_parameters([Parameter("turn_limit")])[0].successful  # not taken away either
    assert parameters.read(node).overlay_alpha == 0.55 and parameters.read(node).turn_limit == 5


def test_what_other_programs_read_at_the_start(bare):
    node = bare(rate=5, hold="long")
    node.undeclare_parameter("rate"), node.undeclare_parameter("hold")
    assert repr(parameters.at_start(node, "rate", 2.0)) == "5.0" and parameters.at_start(node, "seed", 7) == 7
    with pytest.raises(InputError, match="parameter hold is 'long': it must be a number, such as 20.0"):
        parameters.at_start(node, "hold", 20.0)
    assert [node.describe_parameter(name).name for name in ("rate", "seed")] == ["rate", "seed"]
    assert not node.set_parameters([Parameter("seed", value=1)])[0].successful


def test_what_the_model_is_made_from_changes_only_without_a_model(bare):
    settings = parameters.declare(bare(device="cpu"))
    assert parameters.verdict([Parameter("device", value="cuda")]).successful
    for row in TABLE:
        other = {str: "another", bool: not row.default, int: 7, float: 0.7, list: ["front"]}[type(row.default)]
        change = Parameter(row.name, value=row.choices[-1] if row.choices else other)
        assert parameters.verdict([change], settings).successful != row.unconfigured, row.name
    refused = parameters.verdict([Parameter("device", value="cuda")], settings)
    assert "parameter device cannot change while a model is loaded: deactivate and clean up" in refused.reason
    assert parameters.verdict([Parameter("device", value="cpu")], settings).successful  # it does not change


# -- at run time on real DDS, set by service as `ros2 param set` does ------------------------------------------------------


def test_waiting_ends_by_the_present_limits(stage, embedded_engine, ambiguous):
    """Those of a request that waits already, too."""
    play = stage(embedded_engine)
    manage = Manager(play)
    play.person.say(ambiguous.say)
    assert not play.rest(0.5)
    assert manage.set("instruction_timeout", 0.2) == ""
    assert play.hear(GroundedObject, 5.0).error.startswith("no image on topic")
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    play.hear(String)
    assert manage.set("question_timeout", 0.3) == ""
    assert play.hear(GroundedObject, 5.0).outcome == GroundedObject.OUTCOME_QUESTION_TIMEOUT
    assert manage.set("question_timeout", 60) == "" and play.node.settings.question_timeout == 60.0  # a whole number will do
    play.camera.show(None)
    assert manage.set("max_frame_age", 0.1) == ""
    play.until(lambda: play.view.session.newest.age(time.monotonic()) > 0.1)
    play.person.say(ambiguous.say)
    assert "max_frame_age is 0.1 s" in play.hear(GroundedObject, 5.0).error
    assert manage.set("max_frame_age", 0.0) == ""
    play.person.say(ambiguous.say)
    assert play.hear(String)


def test_a_running_node_describes_every_parameter(stage, embedded_engine):
    """As `ros2 param describe` asks for it."""
    manage = Manager(stage(embedded_engine))
    told = manage.done(manage.parameters.describe_parameters(list(ROWS))).descriptors
    assert len(told) == len(TABLE) and all(one.type for one in told)
    for row, one in zip(TABLE, told):
        wanted = row.descriptor()
        wanted.type = one.type
        assert one == wanted


def test_a_risk_that_cannot_be_kept_is_refused(stage, embedded_engine):
    engine = copy.copy(embedded_engine(None, None))
    engine.calibration = None
    play = stage(lambda *_: engine)
    play.logged("was never calibrated: it asks from P(ambiguous) 0.58, whatever `risk` says")
    manage = Manager(play)
    assert "risk: the detector of 'tabletop' was never calibrated, so that no risk can be kept" in manage.set("risk", 0.01)
    assert manage.set("turn_limit", 1) == ""


def test_turn_limit_risk_and_overlay_act_on_the_next_instruction(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine)
    manage = Manager(play)
    play.show(ambiguous.picture)

    def end(**changes):
        assert [manage.set(name, value) for name, value in changes.items()] == [""] * len(changes)
        play.rest(0.3)  # the overlay of the look before, which is drawn after its outcome was told
        play.person.pictures.clear()
        play.person.say(ambiguous.say)
        return play.hear((GroundedObject, String))

    def colour():
        """How far the pixels of the overlay that comes are from grey: a heatmap is bright red and blue."""
        play.until(lambda: play.person.pictures)
        shown, = play.person.pictures.values()
        return float(np.ptp(frame_from_image(shown).rgb[:480].astype(int), axis=2).mean())
    assert isinstance(end(), String)
    assert end(turn_limit=0).outcome == GroundedObject.OUTCOME_SUPERSEDED
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_TURN_LIMIT
    assert end(risk=1.0).outcome == GroundedObject.OUTCOME_GROUNDED
    assert end(overlay_alpha=0.0).outcome == GroundedObject.OUTCOME_GROUNDED
    bare = colour()
    assert end(overlay_alpha=1.0).outcome == GroundedObject.OUTCOME_GROUNDED
    assert colour() > 1.1 * bare
