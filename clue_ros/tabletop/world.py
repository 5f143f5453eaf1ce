"""How varied the synthetic world is: the ranges that a random scene is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clue_ros.tabletop.scene import COLOURS, SHAPES, SIZES
from clue_ros.types import InputError

# Hue (degrees), saturation and value ranges of each colour word; the gaps between them keep the words unambiguous.
COLOUR_RANGES = {
    "red": ((-9, 9), (0.72, 1.0), (0.55, 1.0)),
    "orange": ((20, 34), (0.80, 1.0), (0.85, 1.0)),
    "yellow": ((46, 60), (0.45, 1.0), (0.80, 1.0)),
    "green": ((95, 165), (0.40, 1.0), (0.22, 0.80)),
    "blue": ((203, 232), (0.55, 1.0), (0.40, 1.0)),
    "purple": ((262, 300), (0.30, 0.90), (0.22, 0.75)),
    "white": ((0, 360), (0.0, 0.05), (0.88, 1.0)),
    "black": ((0, 360), (0.0, 0.25), (0.02, 0.10)),
}
# Other shades of the same words; scenes to train on never show them.
UNSEEN_RANGES = {
    "red": ((-9, 9), (0.75, 1.0), (0.38, 0.52)),
    "orange": ((16, 34), (0.62, 0.78), (0.80, 1.0)),
    "yellow": ((46, 60), (0.55, 1.0), (0.66, 0.78)),
    "green": ((82, 94), (0.45, 1.0), (0.35, 0.85)),
    "blue": ((190, 202), (0.60, 1.0), (0.40, 0.95)),
    "purple": ((301, 314), (0.40, 0.90), (0.30, 0.75)),
    "white": ((30, 60), (0.05, 0.11), (0.84, 0.96)),
    "black": ((0, 360), (0.0, 0.20), (0.10, 0.15)),
}

# Of the world that is kept from training: other meshes; other shades, patterned tables, more clutter; lower and wider cameras,
# turned further; other phrasings.
ASPECTS = ("meshes", "surfaces", "cameras", "phrasings")


@dataclass(frozen=True)
class World:
    """Ranges of a random scene. Lengths in metres on the table, angles in degrees, shares as fractions."""

    # Of `ASPECTS`: what is as it is kept from training.
    unseen: tuple[str, ...] = ()

    shapes: tuple[str, ...] = SHAPES
    colours: tuple[str, ...] = COLOURS
    sizes: tuple[str, ...] = SIZES
    objects: tuple[int, int] = (2, 7)
    # One shape only, as on a table of toy blocks: attributes and positions must then tell objects apart.
    single_shape: float = 0.35
    # The next object repeats shape and colour of an earlier one, so that words alone cannot settle ambiguity.
    repeat: float = 0.45
    # Share of cameras that look straight down, and elevation of the others above the table.
    top_down: float = 0.35
    elevation: tuple[float, float] = (35.0, 80.0)
    azimuth: tuple[float, float] = (-28.0, 28.0)
    roll: tuple[float, float] = (-5.0, 5.0)
    field_of_view: tuple[float, float] = (38.0, 50.0)  # vertical, degrees
    # Width of a large block as a share of the image width, at the look-at point.
    block_width: tuple[float, float] = (0.15, 0.25)
    scale_small: float = 0.6
    # How much the proportions of a shape vary from mesh to mesh: its width, height and taper.
    proportions: float = 0.1
    # Every body a random member of its shape's family (`families.py`), not all of a shape alike.
    varied: bool = False
    dark_table: float = 0.45
    textured_table: float = 0.6
    table_edge: float = 0.35
    min_visible: float = 0.55
    clutter: int = 2
    # Rendered pixels (width, height).
    resolution: tuple[int, int] = (256, 192)

    def __post_init__(self) -> None:
        """InputError for what is no world to draw from."""
        if strange := [aspect for aspect in self.unseen if aspect not in ASPECTS]:
            raise InputError(f"{', '.join(map(str, strange))} can not be unseen, but {', '.join(ASPECTS)}")
        if self.varied and "meshes" in self.unseen:
            raise InputError("the unseen world has meshes of its own, the varied one those to train on: it is one of the two")
        if not 0 <= self.proportions <= 0.4:
            raise InputError(f"proportions vary by a share between 0 and 0.4, not by {self.proportions}")
        for name, lowest, highest in (("block_width", 0.05, 0.4), ("elevation", 10, 90)):
            least, most = getattr(self, name)
            if not lowest <= least <= most <= highest:
                raise InputError(f"{name.replace('_', ' ')} {least} to {most}: give two numbers between {lowest} and {highest}, the lesser "
                                 "first")


def unseen_world(aspects: Sequence[str] = ASPECTS) -> World:
    """The world that is kept from training, or one that differs from `World()` in some of its aspects only, in any order. InputError
    for one that is none."""
    world = World(unseen=(*(aspect for aspect in ASPECTS if aspect in aspects), *(set(aspects) - set(ASPECTS))))
    if "meshes" in aspects:
        world = replace(world, proportions=0.0)
    if "surfaces" in aspects:
        world = replace(world, clutter=4)
    if "cameras" in aspects:
        world = replace(world, elevation=(29.0, 35.0), azimuth=(-40.0, 40.0), roll=(-8.0, 8.0), field_of_view=(53.0, 53.0),
                        top_down=0.3)
    return world
