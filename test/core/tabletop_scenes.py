"""Scenes for tests, written by hand."""

from clue_ros.tabletop.scene import Scene, SceneObject


def scene_of(*rows: tuple[str, str, str, float, float]) -> Scene:
    """A scene of (size, colour, shape, x, y) with boxes 0.1 wide."""
    return Scene(0, "", tuple(SceneObject(shape, colour, size, (x - 0.05, y - 0.05, x + 0.05, y + 0.05))
                              for size, colour, shape, x, y in rows))
