"""Data sets as a command names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clue_ros.data.coco import read_coco
from clue_ros.data.invig import read_invig
from clue_ros.data.it2p import read_it2p
from clue_ros.data.recordings import IMAGE, INSTRUCTION, read_recording
from clue_ros.data.records import Part, Reading
from clue_ros.data.tabletop import read_tabletop
from clue_ros.types import InputError

EXPECTED = ("tabletop: folder of clue-tabletop write; coco: instances file; invig: file, folder or hub id; it2p: folder; "
            "recording: rosbag2 folder or MCAP file, where nothing is known of what was meant")


@dataclass(frozen=True)
class Labelled:
    """data: where it lies. reader: a name of READERS. part: which of its pictures. split, allow_download: of InViG. images: of
    COCO and InViG, where the pictures lie, None for beside the file. topics: of a recording, the images and the instructions.
    seed: draws the words about tabletop scenes; the other data sets have theirs."""

    data: str | Path
    reader: str = "tabletop"
    part: Part = Part()
    split: str | None = None
    allow_download: bool = False
    topics: tuple[str, str] = (IMAGE, INSTRUCTION)
    seed: int = 0
    images: Path | None = None

    def __post_init__(self) -> None:
        """InputError for a reader that there is none of, or an option that is not its."""
        if self.reader not in READERS:
            raise InputError(f"there is no reader {self.reader}: take {', '.join(READERS)}")
        if self.reader != "invig" and (self.split or self.allow_download):
            raise InputError(f"a split and downloads are InViG's: leave them out for --reader {self.reader}")
        if self.reader not in ("invig", "coco") and self.images:
            raise InputError(f"a folder of pictures is named for COCO and InViG: leave --images out for --reader {self.reader}")
        if self.reader != "recording" and self.topics != (IMAGE, INSTRUCTION):
            raise InputError(f"topics are a recording's: leave them out for --reader {self.reader}")

    def read(self) -> Reading:
        """Its records, of all parts."""
        return READERS[self.reader](self)


READERS: dict[str, Callable[[Labelled], Reading]] = {
    "tabletop": lambda of: read_tabletop(of.data, seed=of.seed),
    "invig": lambda of: read_invig(of.data, of.split, images=of.images, allow_download=of.allow_download),
    "it2p": lambda of: read_it2p(of.data),
    "coco": lambda of: read_coco(of.data, of.images),
    "recording": lambda of: read_recording(of.data, *of.topics)}
