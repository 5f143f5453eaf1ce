"""Every parameter of `clue_node` in one table, from which they are declared, described and checked; the few of other programs
are read by `at_start`.

Unknown names in a parameters file are reported with the nearest known one. A value out of range is refused in one
sentence, at start-up and at run time alike.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from clue_ros.ros.session import Limits
from clue_ros.types import RISK, TURN_LIMIT, InputError

Value = str | bool | int | float | list[str]
# Of a camera, as part of topics' names; heatmap/image is a picture that the node itself draws.
NAME = re.compile(r"(?!heatmap$)[A-Za-z]\w{0,63}", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One parameter. low, high: inclusive bounds of a number. choices: the words it may be, empty for any. pattern: what the
    word must match, else it is told `like`. A list is one of cameras' names.

    read_only: set at start-up only. unconfigured: the model is made from it, so it changes only while there is none.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    like: str = ""
    read_only: bool = False
    unconfigured: bool = False

    def check(self, value: Value) -> Value:
        """The value in the parameter's type. InputError says what it may be."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"parameter {self.name} is {value!r}: it must be a {KINDS[kind]}, "
                             f"such as {self.default!r}")
        if self.choices and value not in self.choices:
            raise InputError(f"parameter {self.name} is {value!r}: it must be one of {', '.join(self.choices)}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise InputError(f"parameter {self.name} is {value!r}: it must be {self.like}")
        if self.low is not None and not self.low <= value <= self.high:
            raise InputError(f"parameter {self.name} is {value}: it must lie between {self.low:g} and {self.high:g}")
        if kind is list:
            self._check_names(value)
        return value

    def _check_names(self, names: list[str]) -> None:
        for name in names:
            if not isinstance(name, str) or name and not NAME.fullmatch(name):
                raise InputError(f"parameter {self.name} has the name {name!r}: a name is made of letters, digits and _, "
                                 "begins with a letter, has 64 characters at most, and is not heatmap")
        if not names or len(set(names)) < len(names):
            raise InputError(f"parameter {self.name} is {names}: it must hold one name or more, each once")

    def descriptor(self) -> ParameterDescriptor:
        """For `ros2 param describe`."""
        text = self.description + (f" One of: {', '.join(self.choices)}." if self.choices else "")
        text += " Changes only while the node is unconfigured." if self.unconfigured else ""
        # Dynamic, so that a value of another type comes to `check`, whose sentence says more than rclpy's.
        described = ParameterDescriptor(name=self.name, description=text, read_only=self.read_only, dynamic_typing=True)
        if self.low is not None and isinstance(self.default, float):
            described.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high, step=0.0)]
        elif self.low is not None:
            described.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)]
        return described


KINDS = {str: "text", bool: "truth value", int: "whole number", float: "number", list: "list of names"}
TABLE = (
    Row("autostart", True, "Whether the node configures and activates itself; else that is for lifecycle services.",
        read_only=True),
    Row("model", "tabletop", "Model folder (base/, adapter/, detector/), or the name of an embedded one.",
        unconfigured=True),
    Row("device", "auto", "Where it computes: auto, cpu, cuda, cuda:0 ... auto takes a GPU where there is one.",
        pattern=r"auto|cpu|cuda(:[0-9]{1,3})?", like="auto, cpu, cuda, or a GPU by its number, such as cuda:0", unconfigured=True),
    Row("dtype", "auto", "Numbers it computes with; auto: bfloat16 on a GPU that has it (NVIDIA's from Ampere on), else float32.",
        choices=("auto", "float32", "bfloat16", "float16"), unconfigured=True),
    Row("threads", 0, "CPU threads for computing; 0: one, which other programs slow down least, or, for a large model on the CPU, as many "
        "as there are cores for the node, by its affinity and its container's quota.", 0, 1024, unconfigured=True),
    Row("allow_download", False, "Whether a model may be fetched from the network when it is not on disk.",
        unconfigured=True),
    Row("image_transport", "raw", "raw listens to `image`, compressed to `image/compressed` (JPEG or PNG).",
        choices=("raw", "compressed"), read_only=True),
    Row("cameras", [""], "Cameras to look through, each with topics, dialog and action below its name: `front/image`, "
        "`front/instruction`, `front/grounding` ... One without a name has them as they are.", read_only=True),
    Row("depth", False, "Whether to listen to `depth` and `camera_info` and to publish `target`, the object's place in "
        "space; depth images cost as much as the camera's.", read_only=True),
    Row("risk", RISK, "Share of instructions in which it may act wrongly without asking: guess among several objects, or box "
        "another than the one meant; by the detector's calibration. 0: ask always, 1: never.", 0.0, 1.0),
    Row("turn_limit", TURN_LIMIT, "Questions before the node points at the likeliest object all the same, in dialogs that begin from now on; "
        "0: never ask.", 0, 20),
    Row("question_timeout", 60.0, "Seconds to wait for the answer to a question.", 0.1, 86400.0),
    Row("instruction_timeout", 30.0, "Seconds an instruction waits for an image that is not too old.", 0.0, 86400.0),
    Row("max_frame_age", 5.0, "Oldest image to look at, seconds, by its stamp and by its arrival; 0: any age.",
        0.0, 86400.0),
    Row("depth_tolerance", 0.05, "Seconds between an image and the depth image that is taken for it, at most.", 0.0, 10.0),
    Row("rectified", False, "Whether the image is rectified: `target` then uses P of `camera_info`, else K and D."),
    Row("overlay_alpha", 0.55, "How much of the picture the hottest cell of the heatmap covers in `heatmap/image`.",
        0.0, 1.0),
)
ROWS = {row.name: row for row in TABLE}


@dataclass(frozen=True)
class Settings:
    """The parameters' values; meanings and units in `TABLE`."""

    autostart: bool
    model: str
    device: str
    dtype: str
    threads: int
    allow_download: bool
    image_transport: str
    cameras: list[str]
    depth: bool
    risk: float
    turn_limit: int
    question_timeout: float
    instruction_timeout: float
    max_frame_age: float
    depth_tolerance: float
    rectified: bool
    overlay_alpha: float

    def limits(self) -> Limits:
        """The share of them that concerns a request."""
        return Limits(**{f.name: getattr(self, f.name) for f in fields(Limits)})


RCLPYS_QOS = ("qos_overrides./clock.", "qos_overrides./parameter_events.")  # the subscriptions of this package take no overrides


def declare(node: Node) -> Settings:
    """Declare the table on a node made with `automatically_declare_parameters_from_overrides`.

    InputError for a value of the wrong type or out of range; unknown names are logged.
    """
    given = {name: node.get_parameter(name).value for name in node.list_parameters([], 0).names}
    for name in given.keys() - ROWS.keys():
        nearest = difflib.get_close_matches(name, ROWS, n=1)
        if not name.startswith(RCLPYS_QOS) and name not in ("use_sim_time", "start_type_description_service"):
            meant = f": is '{nearest[0]}' meant?" if nearest else ""
            node.get_logger().warning(f"there is no parameter '{name}'{meant}")
    for row in TABLE:
        value = row.check(given.get(row.name, row.default))
        if row.name in given:
            node.undeclare_parameter(row.name)  # it had been declared as whatever the file said, without a description
        node.declare_parameter(row.name, value, row.descriptor(), ignore_override=True)
    return read(node)


def at_start(node: Node, name: str, default: Value) -> Value:
    """A parameter of another program, read when its node starts. InputError for a value of another type."""
    row = Row(name, default, "Read when the node starts.", read_only=True)
    return row.check(node.declare_parameter(name, default, row.descriptor()).value)


def read(node: Node) -> Settings:
    """The parameters' present values."""
    return Settings(**{name: node.get_parameter(name).value for name in ROWS})


def converted(given: list[Parameter]) -> list[Parameter]:
    """Whole numbers as numbers where those are meant, as at start-up: 30 for 30.0."""
    return [Parameter(p.name, value=float(p.value)) if type(p.value) is int and p.name in ROWS
            and isinstance(ROWS[p.name].default, float) else p for p in given]


def verdict(parameters: list[Parameter], loaded: Settings | None = None) -> SetParametersResult:
    """Whether a change at run time is allowed; the reason is a sentence. loaded: what the present model is made from."""
    try:
        for parameter in parameters:
            row = ROWS.get(parameter.name)
            value = row and row.check(parameter.value)
            if row and row.unconfigured and loaded and value != getattr(loaded, row.name):
                raise InputError(f"parameter {row.name} cannot change while a model is loaded: deactivate and clean up "
                                 "the node first, once it is ready (`ros2 lifecycle set`)")
    except InputError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)
