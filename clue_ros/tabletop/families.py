"""Random members of the families that the shape words name: bowls deep and shallow, cans short and tall, mugs and teacups,
bottles round and square, to train on. They are as wide as the words allow, so that a word is learned for what makes the thing
(a handle, a neck, an open top wider than high) and not for how its walls, facets or colours happen to be. None is like those of
`meshes.UNSEEN_PARTS`: no bowl has straight walls (they bend in, or out, or have a knee), no bottle a belly (it is widest at its
foot or at a high shoulder), no mug straight walls that narrow to its foot, no can is twice as high as wide, no block is half as high
as long, no ball is longer than wide by a quarter (the unseen one: by two fifths).
The proportions of all meshes vary by another tenth (`World.proportions`).

A member is its parts, [(mesh, RGB or None for the object's colour), ...].
"""

from __future__ import annotations

import colorsys

import numpy as np

from clue_ros.tabletop.meshes import GLAZE, METAL, PLASTIC, Mesh, block, join, revolve, torus_arc

Colour = tuple[float, float, float]
Parts = list[tuple[Mesh, Colour | None]]
Profile = list[tuple[float, float]]
AXIS = 1e-4  # the radius of a closed end: a surface of revolution needs one
CAPS = (PLASTIC, GLAZE, METAL, None, (0.45, 0.46, 0.50))
INSIDES = (GLAZE, GLAZE, None, (0.98, 0.98, 0.97))  # not any colour: from above little else is seen
LIDS = (METAL, METAL, (0.85, 0.86, 0.88), (0.55, 0.55, 0.56))


def _one_of(rng: np.random.Generator, choices: tuple):
    """One of them; not `rng.choice`, which makes an array of them first."""
    return choices[int(rng.integers(len(choices)))]


def _colour(rng: np.random.Generator, usual: tuple, odd: float = 0.3) -> Colour | None:
    """A usual colour of such a part, or in a share `odd` of them any faint one."""
    if rng.random() >= odd:
        return _one_of(rng, usual)
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.5), rng.uniform(0.1, 0.95))


def _facets(rng: np.random.Generator, fewest: int = 6) -> int:
    """Sides around the axis: mostly many, sometimes few enough to be seen."""
    return int(rng.integers(fewest, 13) if rng.random() < 0.3 else rng.integers(13, 29))


def _wall(radius: float, foot: float, low: float, high: float, bend: float) -> Profile:
    """From the foot (a share of the radius) at height `low` to the rim at `high`, a superellipse: a bend of 1 is round, of 2
    would be straight, near 0 a box, of 3 a trumpet."""
    return [(radius * (foot + (1 - foot) * np.sin(a) ** bend), low + (high - low) * (1 - np.cos(a) ** bend))
            for a in np.linspace(0, np.pi / 2, 8)]


def _kneed(radius: float, foot: float, low: float, high: float, knee: tuple[float, float]) -> Profile:
    """The same with straight walls below and above a knee at (share of the way out, share of the way up)."""
    out, up = knee
    return [(radius * foot, low), (radius * (foot + (1 - foot) * out), low + (high - low) * up), (radius, high)]


def _bend(rng: np.random.Generator) -> float:
    """Of a wall that is anything but straight."""
    return rng.uniform(0.4, 1.4) if rng.random() < 0.7 else rng.uniform(2.8, 4.0)


def a_block(rng: np.random.Generator) -> Parts:
    """A block, up to two fifths longer than deep or high."""
    vertices, faces = block()
    long = rng.uniform(0.86, 1.18)
    return [((vertices * (long, long * rng.uniform(0.72, 1.0), long * rng.uniform(0.64, 1.2)), faces), None)]


def a_ball(rng: np.random.Generator) -> Parts:
    """A ball, nearly round, smooth or in facets."""
    t = np.linspace(-np.pi / 2, np.pi / 2, int(rng.integers(6, 15)))
    radius = 0.026 * rng.uniform(0.88, 1.12)
    high = radius * rng.uniform(0.74, 1.16)
    return [(revolve([(max(radius * np.cos(a), AXIS), high * (1 + np.sin(a))) for a in t], _facets(rng, 8)), None)]


def a_can(rng: np.random.Generator) -> Parts:
    """A can, from a flat tin to a drinks can, its side straight, waisted or bulging, with a lid sunk behind its rim."""
    radius, segments = rng.uniform(0.019, 0.029), _facets(rng, 8)
    height = radius * rng.uniform(0.9, 3.7)
    foot, rim, lid = radius * rng.uniform(0.7, 1.0), radius * rng.uniform(0.75, 1.0), radius * rng.uniform(0.5, 0.8)
    sunk, bulge = rng.uniform(0.0005, 0.005), rng.uniform(-0.08, 0.08)
    edge, top = rng.uniform(0.001, 0.009, 2) * min(1.0, height / 0.04)
    side = [(radius * (1 + bulge * np.sin(np.pi * s)), edge + (height - edge - top) * s) for s in np.linspace(0, 1, 6)]
    wall = revolve([(AXIS, 0), (foot, 0), *side, (rim, height), (lid, height)], segments)
    return [(wall, None), (revolve([(lid, height), (0.97 * lid, height - sunk), (AXIS, height - sunk)], segments),
                           _colour(rng, LIDS))]


def a_bottle(rng: np.random.Generator) -> Parts:
    """A bottle, round or square, with sloping or round shoulders high or low, slender or stout, its sides straight, waisted,
    narrowing upwards (a cone, at most) or to the foot, its neck short or long, with a cap or a cork."""
    radius, height = rng.uniform(0.0155, 0.025), rng.uniform(0.078, 0.125)
    segments = 4 if rng.random() < 0.12 else _facets(rng, 5)
    neck, shoulder = radius * rng.uniform(0.3, 0.62), height * rng.uniform(0.24, 0.66)
    rise, round_ = height * rng.uniform(0.05, 0.24), rng.uniform(0.5, 1.3)
    waist, narrow = rng.uniform(0, 0.2), float(_one_of(rng, (0.0, 0.0, rng.uniform(0, 0.25), rng.uniform(0.2, 0.6))))
    high = shoulder > 0.5 * height  # only then may the foot be slimmer than the shoulder: a low one would make a belly of it
    slim = rng.uniform(0.55, 0.95) if high and not narrow and rng.random() < 0.6 else 1.0
    side = [(radius * (1 - waist * np.sin(np.pi * s)) * (1 - narrow * s) * (slim + (1 - slim) * s), shoulder * s)
            for s in np.linspace(0, 1, 7)]
    wide = side[-1][0]
    neck = min(neck, 0.9 * wide)
    slope = [(neck + (wide - neck) * np.cos(a) ** round_, shoulder + rise * np.sin(a))
             for a in np.linspace(0, np.pi / 2, 6)[1:-1]]
    top = max(height * rng.uniform(0.8, 0.94), shoulder + rise + 0.004)
    cap, end = neck * rng.uniform(0.9, 1.45), max(height, top + 0.003)
    body = revolve([(AXIS, 0), *side, *slope, (neck, shoulder + rise), (neck, top)], segments)
    crown = cap * rng.uniform(0.85, 1.15)
    return [(body, None), (revolve([(neck, top - 0.002), (cap, top - 0.002), (crown, end), (AXIS, end)], segments),
                           _colour(rng, CAPS, 0.5))]


def a_mug(rng: np.random.Generator) -> Parts:
    """A mug, low or high, its sides straight, bulging, waisted or narrowing upwards, or a teacup with round ones or a trumpet's,
    with a large or small handle."""
    radius, height, segments = rng.uniform(0.0205, 0.028), rng.uniform(0.036, 0.066), _facets(rng, 8)
    thick, inner = radius * rng.uniform(0.08, 0.24), rng.uniform(0.003, 0.008)
    if rng.random() < 0.35:
        height *= 0.85
        foot, bend = rng.uniform(0.3, 0.7), _bend(rng)
        side, inside = _wall(radius, foot, 0, height, bend), _wall(radius - thick, foot, inner, height, bend)[::-1]
    else:
        bulge, foot, flare = rng.uniform(-0.14, 0.16), rng.uniform(0.85, 1.0), rng.uniform(0, 0.08)
        lean = rng.uniform(0, 0.3) if rng.random() < 0.4 else 0.0
        wide = lambda z: (radius * (1 + bulge * np.sin(np.pi * z / height) + flare * (z / height) ** 4)  # noqa: E731
                          * (1 - lean * z / height))
        side = [(foot * radius, 0), *((wide(z), z) for z in np.linspace(0.005, height, 8))]
        inside = [(wide(z) - thick, z) for z in np.linspace(height, inner, 5)]
    cup = revolve([(AXIS, 0), *side, (side[-1][0] - thick, height)], segments)
    reach, tube, middle = rng.uniform(0.010, 0.019), rng.uniform(0.0025, 0.006), height * rng.uniform(0.44, 0.62)
    at = float(np.interp(middle, [z for _, z in side], [r for r, _ in side]))
    points, faces = torus_arc(reach, tube, (at - 0.002, 0, 0))
    handle = points * (1, 1, min(rng.uniform(0.7, 1.3), 0.42 * height / (reach + tube))) + (0, 0, middle)
    return [(join(cup, (handle, faces)), None), (revolve([*inside, (AXIS, inner)], segments), _one_of(rng, INSIDES))]


def a_bowl(rng: np.random.Generator) -> Parts:
    """A bowl, deep or shallow, on a narrow or wide foot, its walls round, a trumpet's or with a knee, some with a flat brim, its
    inside glazed or not."""
    radius, foot, thick = rng.uniform(0.029, 0.043), rng.uniform(0.12, 0.62), rng.uniform(0.0015, 0.006)
    height, segments, shape = radius * rng.uniform(0.4, 1.15), _facets(rng, 8), rng.random()
    brim = min(radius * rng.uniform(1.04, 1.2), 0.043) if rng.random() < 0.15 else radius
    if shape < 0.65:
        bend = _bend(rng)
        wall = lambda r, low: _wall(r, foot, low, height, bend)  # noqa: E731
    else:
        up = rng.uniform(0.25, 0.75)
        off = _one_of(rng, (rng.uniform(-0.5, -0.22), rng.uniform(0.22, 0.5)))  # of the straight line from foot to rim
        wall = lambda r, low: _kneed(r, foot, low, height, (float(np.clip(up + off, 0, 1.05)), up))  # noqa: E731
    inside = wall(radius - thick, thick)[::-1]
    return [(revolve([(AXIS, 0), *wall(radius, 0), (brim, height), inside[0]], segments), None),
            (revolve([*inside, (AXIS, thick)], segments), None if rng.random() < 0.7 else _one_of(rng, INSIDES))]


FAMILIES = {"block": a_block, "ball": a_ball, "can": a_can, "bottle": a_bottle, "mug": a_mug, "bowl": a_bowl}
