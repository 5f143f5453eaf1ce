"""package.xml, setup.cfg, CMakeLists.txt and requirements/ say the same as one another, and as the sources."""

import ast
import configparser
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CMAKE = (ROOT / "CMakeLists.txt").read_text()
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
# What is imported under another name than it is installed by.
NAMES = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn"}
# Used where it is installed; of the extra `data`, or told by a sentence that names what to install.
OPTIONAL = {"pyarrow", "datasets", "rosbags", "vision_msgs", "cv_bridge"}


def imported(*folders, at_once=False):
    """Top-level names of all that the sources import from elsewhere. at_once: when they are imported themselves, not in a
    function."""
    found = set()
    for file in (file for folder in folders for file in Path(folder).rglob("*.py")):
        tree = ast.parse(file.read_text())
        for node in tree.body if at_once else ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) else [])
            found |= {name.split(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"clue_ros"}


def required(name):
    """Distributions of a file of requirements/."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {line.split("==")[0] for line in lines if line and not line.startswith("#")}


def test_there_is_one_version_one_name_and_one_licence():
    assert MANIFEST.findtext("name") == SETUP["metadata"]["name"] == "clue_ros"
    assert MANIFEST.findtext("version") == SETUP["metadata"]["version"]
    assert MANIFEST.findtext("license") == SETUP["metadata"]["license"]


@pytest.mark.parametrize("folder, pattern", [("msg", "*.msg"), ("action", "*.action"), ("scripts", "*")])
def test_every_interface_and_script_is_built(folder, pattern):
    named = set(re.findall(rf"\b({folder}/[\w.]+)", CMAKE))
    assert named == {f"{folder}/{file.name}" for file in (ROOT / folder).glob(pattern)}


def test_every_ros_package_that_is_imported_is_declared():
    declared = {part.text for part in MANIFEST if part.tag in ("depend", "exec_depend")}
    ros = {name for name in imported(ROOT / "clue_ros/ros", ROOT / "launch") if name == "rclpy" or name.endswith("_msgs")
           or name.startswith(("launch", "rcl", "builtin_interfaces"))}
    assert ros - OPTIONAL <= declared, ros - OPTIONAL - declared


def test_every_library_that_is_imported_is_required():
    core = [ROOT / "clue_ros" / name for name in ("vlm", "detector")]
    assert {NAMES.get(name, name) for name in imported(*core, at_once=True)} <= required("core.txt")
    everything = {NAMES.get(name, name) for name in imported(*(p for p in (ROOT / "clue_ros").iterdir() if p.is_dir() and p.name != "ros"))}
    missing = everything - required("core.txt") - required("train.txt") - OPTIONAL
    assert not missing
