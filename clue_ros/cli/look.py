"""clue-look photo.jpg "pick up the red mug": one look without ROS; asks in the terminal until it knows, or has asked three times."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clue_ros.cli.common import execute


def main() -> None:
    """Ground an instruction in a photograph."""
    execute(parser())


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(description="Ground an instruction in a photograph, asking when it is not clear.")
    parser.add_argument("image", type=Path)
    parser.add_argument("instruction")
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(call=_look)
    return parser


def _look(a: argparse.Namespace) -> None:
    from clue_ros.data.records import read_photo
    from clue_ros.dialog import Dialog
    from clue_ros.model_folder import load
    from clue_ros.types import Frame, InputError, Question
    frame, clue, dialog = Frame(read_photo(a.image)), load(a.model, a.device), Dialog.start(a.instruction)
    while True:
        decision = clue.look(frame, dialog)
        print(f"P(ambiguous) = {decision.ambiguity.probability:.2f}  ({decision.milliseconds['total']:.0f} ms)")
        if not isinstance(decision.outcome, Question):
            b = decision.outcome.box
            print(f"box: x {b.x1:.0f}..{b.x2:.0f}, y {b.y1:.0f}..{b.y2:.0f} px  {decision.outcome.label}  "
                  f"score {decision.outcome.score:.2f}{', still in doubt' * decision.in_doubt}")
            return
        print(f"robot: {decision.outcome.text}")
        dialog = dialog.ask(decision.outcome.text)
        if not sys.stdin.isatty():
            print("(no terminal to answer in)")
            return
        while dialog.open_question is not None:
            try:
                dialog = dialog.answer(input("you:   "))
            except InputError as error:
                print(f"({error})")
