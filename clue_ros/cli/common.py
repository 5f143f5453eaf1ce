"""What every command shares: a clear sentence instead of a traceback, and a quiet library underneath."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clue_ros.types import InputError, ModelError

if TYPE_CHECKING:
    from clue_ros.data.readers import Labelled
    from clue_ros.data.records import Part


def execute(parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call what it names (`call`, by set_defaults), as `run` does."""
    arguments = parser.parse_args()
    run(lambda: arguments.call(arguments))


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return int(text)


def share(text: str) -> float:
    """A number between 0 and 1, for argparse."""
    if not 0.0 <= float(text) <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return float(text)


def new_file(text: str) -> Path:
    """Where a file can be written, for argparse: found out before what it shall hold is computed."""
    from clue_ros.files import check_file
    try:
        check_file(path := Path(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def add_labelled(parser: argparse.ArgumentParser, reader: str | None = None, *, several: bool = False) -> None:
    """The options of a command that reads any data set, or several of one kind; without a usual reader it must be named."""
    from clue_ros.data.readers import EXPECTED
    parser.add_argument("--data", required=True, nargs="+" if several else None, help=EXPECTED)
    add_reader(parser, reader)


def add_reader(parser: argparse.ArgumentParser, reader: str | None, downloads: str = "let InViG come from the Hugging Face hub",
               ) -> None:
    """How that data is to be read."""
    from clue_ros.data.readers import READERS
    from clue_ros.data.recordings import IMAGE, INSTRUCTION
    parser.add_argument("--reader", choices=READERS, default=reader, required=reader is None, help="what kind of data that is")
    parser.add_argument("--part", type=_part, help="only a part of its pictures, such as 1/2, to calibrate on one and to "
                        "score on the other; what a picture is called decides")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="of InViG")
    parser.add_argument("--allow-download", action="store_true", help=downloads)
    parser.add_argument("--images", type=Path, help="of COCO and InViG: the folder of the pictures (default: that of the file)")
    parser.add_argument("--topics", nargs=2, metavar=("IMAGE", "INSTRUCTION"), default=(IMAGE, INSTRUCTION),
                        help=f"of a recording (default: {IMAGE} {INSTRUCTION})")


def labelled_of(a: argparse.Namespace, data: str | None = None, *, allow_download: bool | None = None) -> Labelled:
    """What those options name. data, allow_download: instead of theirs. InputError for options that are not that reader's."""
    from clue_ros.data.readers import Labelled
    from clue_ros.data.records import Part
    return Labelled(data or a.data, a.reader, a.part or Part(), a.split, a.allow_download if allow_download is None else allow_download,
                    tuple(a.topics), a.seed, a.images)


def _part(text: str) -> Part:
    from clue_ros.data.records import Part
    try:
        return Part.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(command: Callable[[], None]) -> None:
    """Call the command; expected errors end in one sentence on stderr and exit status 1, Ctrl-C in 130."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        command()
    except EOFError:
        sys.exit("error: the input ended before the answer")
    except (InputError, ModelError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if (error.name or "clue_ros").startswith("clue_ros"):
            raise
        sys.exit(f"error: {error.name} is not installed: pip install 'clue_ros[train]' (or '.[train]' in its sources)")
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        if type(error).__name__ not in ("RenderingUnavailable", "OutOfMemoryError"):
            raise
        sys.exit(f"error: {error}")
