"""Imports point one way (see docs/design.md): a layer knows the layers below it, never those above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clue_ros"
# Every part, and the parts it may import.
RULE = {
    "types": set(), "shipped": set(), "offline": set(), "files": {"types"}, "devices": {"types"}, "vlm": {"types"},
    "detector": {"types"}, "dialog": {"types", "vlm"}, "wording": {"types"},
    "model_folder": {"types", "shipped", "offline", "files", "devices", "vlm", "detector", "pipeline"},
    "pipeline": {"types", "vlm", "detector", "dialog", "wording"},
    "encodings": {"types"}, "provenance": {"types", "shipped", "offline", "model_folder", "pipeline"},
    "tabletop": {"types", "files"}, "data": {"types", "vlm", "tabletop", "encodings"},
    "training": {"types", "vlm", "detector", "dialog", "pipeline", "model_folder", "provenance", "offline", "files", "devices",
                 "tabletop", "data"},
    "evaluation": {"types", "vlm", "detector", "dialog", "wording", "pipeline", "model_folder", "provenance", "files", "devices", "tabletop",
                   "data"},
    "benchmark": {"types", "vlm", "detector", "dialog", "pipeline", "model_folder", "tabletop", "data"},
}


def imports_of(file: Path) -> set[str]:
    """Parts of clue_ros a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: a relative import"
        names = [f"{node.module}.{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [])
        found |= {n.split(".")[1] for n in names if n.startswith("clue_ros.")}
    return found


def test_every_part_has_its_rule():
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert parts - {"__init__", "cli", "ros", "msg", "action"} == set(RULE)


@pytest.mark.parametrize("part", sorted(RULE))
def test_imports_point_one_way(part):
    files = sorted((PACKAGE / part).rglob("*.py")) if (PACKAGE / part).is_dir() else [PACKAGE / f"{part}.py"]
    assert files
    for file in files:
        upward = imports_of(file) - RULE[part] - {part}
        assert not upward, f"{file.relative_to(PACKAGE)} imports {sorted(upward)}"


def test_only_ros_imports_rclpy():
    for file in PACKAGE.rglob("*.py"):
        if "ros" not in file.relative_to(PACKAGE).parts[:1]:
            assert "rclpy" not in file.read_text(), file


def test_the_core_imports_without_ros():
    code = ("import sys; sys.modules['rclpy'] = None\n"
            "import clue_ros.pipeline, clue_ros.model_folder, clue_ros.training.recipes, clue_ros.evaluation.suites\n"
            "assert not any(m.startswith(('rclpy.', 'rosidl')) for m in sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, clue_ros, clue_ros.types; assert not {'torch', 'cv2', 'rclpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


@pytest.mark.parametrize("folder", ["clue_ros", "test", "examples", "tools", "launch"])
def test_files_stay_short(folder):
    long = {f.name: n for f in (ROOT / folder).rglob("*.py") if (n := len(f.read_text().splitlines())) > 300}
    assert not long
