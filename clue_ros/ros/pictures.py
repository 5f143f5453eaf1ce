"""Where the simulated camera and the demo get their pictures: shipped frames, any folder, any photo, or a renderer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, starmap
from pathlib import Path

import cv2
import numpy as np

from clue_ros.data.records import in_pixels, read_photo
from clue_ros.shipped import shipped
from clue_ros.tabletop.scene import Scene, read_scenes
from clue_ros.types import Box, InputError

LIVE = "live"
SUFFIXES = (".png", ".jpg", ".jpeg")
LONGEST = 1280  # pixels; the model sees far fewer, and a larger message has no room between processes


@dataclass(frozen=True, eq=False)
class Picture:
    """rgb: uint8[H, W, 3]. scene: the truth about it, None for a photograph."""

    name: str
    rgb: np.ndarray
    scene: Scene | None = None

    def box(self, target: int) -> Box:
        """The true box of object `target` of the scene, in pixels."""
        return in_pixels(Box(*self.scene.objects[target].box), self.rgb.shape[1::-1])


def demo_folder() -> Path:
    """resource/demo, in the source tree or below share/clue_ros of an installation. InputError where it is missing."""
    if (folder := shipped("resource/demo")) is None:
        raise InputError("the demo's pictures (share/clue_ros/resource/demo) are not installed: build the package again")
    return folder


def read_picture(path: str | Path, scene: Scene | None = None) -> Picture:
    """A PNG or JPEG file, made smaller where its longer side exceeds `LONGEST`. InputError names a file that is none."""
    path = Path(path).expanduser()
    rgb = read_photo(path)
    if (share := LONGEST / max(rgb.shape)) < 1:
        rgb = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return Picture(path.name, rgb, scene)


def list_folder(folder: str | Path) -> list[tuple[Path, Scene | None]]:
    """The pictures of a folder, not yet read: those of its scenes.jsonl in that order, else all PNG and JPEG files by name.
    InputError when there are none."""
    folder = Path(folder).expanduser()
    if (folder / "scenes.jsonl").is_file():
        return [(folder / scene.image, scene) for scene in read_scenes(folder)]
    try:
        found = [(path, None) for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        raise InputError(f"{folder} holds no PNG or JPEG picture")
    return found


def rendered(seed: int) -> Iterator[Picture]:
    """Endless random tables of 640 x 480 pixels. InputError says what to install when OpenGL is missing."""
    from clue_ros.tabletop.render import Renderer, RenderingUnavailable
    from clue_ros.tabletop.world import World
    try:
        renderer = Renderer(World(resolution=(640, 480)))
    except (RenderingUnavailable, ImportError) as error:
        raise InputError(f"a live camera needs a renderer: {error}") from error
    rng = np.random.default_rng(seed)
    number = 0
    try:
        while True:
            poses = renderer.sample(rng)
            drawn = renderer.draw(poses, number) if len(poses) > 1 else None
            if drawn is not None:
                yield Picture(f"live {number}", *drawn)
                number += 1
    finally:
        renderer.close()


def open_source(source: str, seed: int = 0) -> Callable[[], Picture]:
    """A function that gives the next picture of a source: "" (the demo's), "live", a folder, or a file; from the start
    again after the last. The first is read now, the others when they are shown: a folder may hold more than memory does. InputError,
    here and there, names what cannot be read; the next call goes on after it."""
    if source == LIVE:
        tables = rendered(seed)
        pictures = chain([next(tables)], tables)
        return lambda: next(pictures)
    path = Path(source).expanduser() if source else demo_folder()
    files = cycle(list_folder(path) if path.is_dir() else [(path, None)])
    pictures = chain([read_picture(*next(files))], starmap(read_picture, files))
    return lambda: next(pictures)
