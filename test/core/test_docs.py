"""The docs: links lead somewhere, sentences that are said to be the node's own are, commands and parameters exist."""

import ast
import importlib
import re
import shlex
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


COMMANDS = {f"clue-{name}": importlib.import_module(f"clue_ros.cli.{name}").parser
            for name in ("look", "tabletop", "train", "evaluate", "benchmark")}
SHORT = "…", "|"  # of a line that leaves something out


def in_blocks(text):
    """The words of every clue_ros command in a block of code, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    lines = [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    return [shlex.split(line, comments=True) for line in lines
            if line.split(" ")[0] in COMMANDS and not any(sign in line for sign in SHORT)]


def options_of(words):
    """The options that the command, or its subcommand, knows."""
    parser = COMMANDS[words[0]]()
    for action in parser._actions:
        if action.dest == "==SUPPRESS==" and len(words) > 1:
            return set(action.choices[words[1]]._option_string_actions)
    return set(parser._option_string_actions)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    text = page.read_text(encoding="utf-8")
    for words in in_blocks(text):
        COMMANDS[words[0]]().parse_args(words[1:])
    for line in re.findall(r"`(clue-(?:look|tabletop|train|evaluate|benchmark) [^`]+)`", text):  # may leave something out
        words = line.split()
        assert {word for word in words if word.startswith("--")} <= options_of(words) | {"--help"}, line


def test_the_docs_hold_commands():
    assert sum(len(in_blocks(page.read_text(encoding="utf-8"))) for page in PAGES) > 8
