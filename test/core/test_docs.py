"""The docs: links lead somewhere, sentences that are said to be the node's own are, commands and parameters exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def sentences(path):
    """Every string in a source file, with … for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_trouble_shooting_quotes_the_node():
    own = [text for path in (ROOT / "clue_ros").rglob("*.py") for text in sentences(path)]
    quoted = re.findall("“(.+?)”", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    wrong = [text for text in quoted if text != "…" and not any(text in sentence for sentence in own)]
    assert len(quoted) > 30 and not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, part = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if part:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert part in anchors, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_launch_arguments_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\bros2 run clue_ros (\w+)", text):
        assert (ROOT / "scripts" / name).is_file(), name
    for name in re.findall(r"\bros2 launch clue_ros ([\w.]+)", text):
        assert (ROOT / "launch" / name).is_file(), name
    for name in re.findall(r"\b(?:examples|resource|config|tools)/[\w/.-]+\.\w+", text):
        assert (ROOT / name).is_file(), name
    for line in re.findall(r"^ros2 launch clue_ros clue\.launch\.py (.*?)(?:  |$)", text, re.M):
        declared = re.findall(r'DeclareLaunchArgument\("(\w+)"', (ROOT / "launch" / "clue.launch.py").read_text())
        assert set(re.findall(r"(\w+):=", line)) <= set(declared), line
