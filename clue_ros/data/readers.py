"""The readers of labelled data sets, by the name that a command gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clue_ros.data.coco import read_coco
from clue_ros.data.invig import read_invig
from clue_ros.data.it2p import read_it2p
from clue_ros.data.records import Reading
from clue_ros.data.tabletop import read_tabletop

READERS: dict[str, Callable[[Path], Reading]] = {
    "tabletop": read_tabletop, "invig": read_invig, "it2p": read_it2p, "coco": read_coco}
EXPECTED = "tabletop: folder of clue-tabletop write; coco: instances file; invig: file or folder; it2p: folder"
