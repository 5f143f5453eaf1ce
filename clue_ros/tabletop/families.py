"""Random members of the families that the shape words name: bowls deep and shallow, cans short and tall, mugs round and
straight, to train on. None is like those of `meshes.UNSEEN_PARTS`: no bowl has straight walls, no bottle a belly, no mug
narrows to its foot, no can does so by a fifth or is twice as high as wide, no block is half as high as long, no ball is longer
than wide by a fifth (the unseen one is by two).

A member is its parts, [(mesh, RGB or None for the object's colour), ...], as many as `meshes.PARTS` has of that shape.
"""

from __future__ import annotations

import numpy as np

from clue_ros.tabletop.meshes import GLAZE, METAL, PLASTIC, Mesh, block, join, revolve, torus_arc

Parts = list[tuple[Mesh, tuple[float, float, float] | None]]
AXIS = 1e-4  # the radius of a closed end: a surface of revolution needs one
CAPS = (PLASTIC, GLAZE, METAL, None, (0.45, 0.46, 0.50))
INSIDES = (GLAZE, GLAZE, None, (0.98, 0.98, 0.97))
LIDS = (METAL, METAL, (0.85, 0.86, 0.88), (0.55, 0.55, 0.56))


def _one_of(rng: np.random.Generator, choices: tuple):
    """One of them; not `rng.choice`, which makes an array of them first."""
    return choices[int(rng.integers(len(choices)))]


def a_block(rng: np.random.Generator) -> Parts:
    """A block, up to a third longer than deep."""
    vertices, faces = block()
    return [((vertices * rng.uniform((0.86, 0.86, 0.8), (1.14, 1.14, 1.2)), faces), None)]


def a_ball(rng: np.random.Generator) -> Parts:
    """A ball, smooth and nearly round."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 13)
    radius, high = 0.026 * rng.uniform(0.9, 1.1), 0.026 * rng.uniform(0.94, 1.06)
    return [(revolve([(max(radius * np.cos(a), AXIS), high * (1 + np.sin(a))) for a in t], int(rng.integers(14, 25))), None)]


def a_can(rng: np.random.Generator) -> Parts:
    """A can, from a flat tin to a drinks can, with a lid sunk behind its rim."""
    radius, segments = rng.uniform(0.019, 0.029), int(rng.integers(14, 29))
    height = radius * rng.uniform(1.0, 3.6)
    foot, rim, lid = radius * rng.uniform(0.85, 1.0), radius * rng.uniform(0.82, 1.0), radius * rng.uniform(0.55, 0.8)
    sunk = rng.uniform(0.001, 0.005)
    profile = [(AXIS, 0), (foot, 0), (radius, 0.004), (radius, height - 0.0035), (rim, height), (lid, height)]
    wall = revolve(profile, segments)
    return [(wall, None), (revolve([(lid, height), (0.97 * lid, height - sunk), (AXIS, height - sunk)], segments),
                           _one_of(rng, LIDS))]


def a_bottle(rng: np.random.Generator) -> Parts:
    """A bottle with sloping or round shoulders high or low, slender or stout, its sides straight or waisted."""
    radius, height, segments = rng.uniform(0.015, 0.024), rng.uniform(0.085, 0.125), int(rng.integers(12, 25))
    neck, shoulder = radius * rng.uniform(0.32, 0.6), height * rng.uniform(0.35, 0.66)
    rise, round_, waist = height * rng.uniform(0.08, 0.22), rng.uniform(0.5, 1.2), rng.uniform(0, 0.14)
    side = [(radius * (1 - waist * np.sin(np.pi * s)), shoulder * s) for s in np.linspace(0, 1, 7)]
    slope = [(neck + (radius - neck) * np.cos(a) ** round_, shoulder + rise * np.sin(a))
             for a in np.linspace(0, np.pi / 2, 6)[1:-1]]
    top = max(0.86 * height, shoulder + rise + 0.004)
    cap = neck * rng.uniform(1.05, 1.4)
    body = revolve([(AXIS, 0), *side, *slope, (neck, shoulder + rise), (neck, top)], segments)
    return [(body, None), (revolve([(neck, top - 0.002), (cap, top - 0.002), (cap, height), (AXIS, height)], segments),
                           _one_of(rng, CAPS))]


def a_mug(rng: np.random.Generator) -> Parts:
    """A mug, low or high, its sides straight, bulging or waisted, with a large or small handle."""
    radius, height, segments = rng.uniform(0.021, 0.027), rng.uniform(0.042, 0.064), int(rng.integers(14, 29))
    bulge, wall, foot = rng.uniform(-0.1, 0.14), radius * rng.uniform(0.1, 0.24), rng.uniform(0.9, 1.0)
    wide = lambda z: radius * (1 + bulge * np.sin(np.pi * z / height))  # noqa: E731
    side = [(wide(z), z) for z in np.linspace(0.005, height, 8)]
    rim = side[-1][0]
    cup = revolve([(AXIS, 0), (foot * radius, 0), *side, (rim - wall, height)], segments)
    reach, tube, middle = rng.uniform(0.012, 0.018), rng.uniform(0.003, 0.006), height * rng.uniform(0.48, 0.58)
    points, faces = torus_arc(reach, tube, (wide(middle) - 0.002, 0, 0))
    handle = points * (1, 1, min(rng.uniform(0.8, 1.25), 0.42 * height / (reach + tube))) + (0, 0, middle)
    inside = [(wide(z) - wall, z) for z in np.linspace(height, 0.006, 5)]
    return [(join(cup, (handle, faces)), None), (revolve([*inside, (AXIS, 0.006)], segments), _one_of(rng, INSIDES))]


def a_bowl(rng: np.random.Generator) -> Parts:
    """A bowl, deep or shallow, on a narrow or wide foot, always with round walls."""
    radius, foot, thick = rng.uniform(0.031, 0.042), rng.uniform(0.15, 0.5), rng.uniform(0.002, 0.005)
    height, bend, segments = radius * rng.uniform(0.45, 1.0), rng.uniform(0.7, 1.25), int(rng.integers(16, 29))

    def wall(radius: float, low: float) -> list[tuple[float, float]]:
        """From the foot to the rim, a superellipse; a bend of 1 is round, of 2 would be straight."""
        return [(radius * (foot + (1 - foot) * np.sin(a) ** bend), low + (height - low) * (1 - np.cos(a) ** bend))
                for a in np.linspace(0, np.pi / 2, 8)]
    return [(revolve([(AXIS, 0), *wall(radius, 0), *wall(radius - thick, thick)[::-1], (AXIS, thick)], segments), None)]


FAMILIES = {"block": a_block, "ball": a_ball, "can": a_can, "bottle": a_bottle, "mug": a_mug, "bowl": a_bowl}
