"""Object shapes as triangle meshes of unit size: surfaces of revolution, and a mug's handle.

Every function returns (vertices float64[V, 3] in metres, faces int[F, 3]), standing on z = 0, about 0.05 m wide.
"""

from __future__ import annotations

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]


def revolve(profile: list[tuple[float, float]], segments: int = 20) -> Mesh:
    """Turn a profile [(radius, z), ...], listed from the bottom outwards and up, around the z axis."""
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    rings = [np.stack([r * np.cos(angles), r * np.sin(angles), np.full(segments, z)], 1) for r, z in profile]
    faces = []
    for ring in range(len(profile) - 1):
        for i in range(segments):
            a, b = ring * segments + i, ring * segments + (i + 1) % segments
            c, d = a + segments, b + segments
            faces += [(a, b, d), (a, d, c)]
    return np.concatenate(rings), np.array(faces)


def torus_arc(radius: float, tube: float, centre: tuple[float, float, float], segments: int = 12) -> Mesh:
    """Half a torus in the x–z plane, opening towards -x: a mug's handle."""
    bend = np.linspace(-np.pi / 2, np.pi / 2, segments)
    around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    points = [(centre[0] + (radius + tube * np.cos(a)) * np.cos(b), centre[1] + tube * np.sin(a),
               centre[2] + (radius + tube * np.cos(a)) * np.sin(b)) for b in bend for a in around]
    faces = []
    for i in range(segments - 1):
        for j in range(8):
            a, b = i * 8 + j, i * 8 + (j + 1) % 8
            faces += [(a, a + 8, b + 8), (a, b + 8, b)]
    return np.array(points), np.array(faces)


def join(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    offsets = np.cumsum([0] + [len(v) for v, _ in meshes[:-1]])
    return np.concatenate([v for v, _ in meshes]), np.concatenate([f + o for (_, f), o in zip(meshes, offsets)])


def reshaped(vertices: np.ndarray, width: float, height: float, taper: float) -> np.ndarray:
    """The vertices with other proportions; taper: how many times wider than the foot the top (at 0.1 m) becomes."""
    across = width * (1 + (taper - 1) * vertices[:, 2:] / 0.1)
    return np.concatenate([vertices[:, :2] * across, vertices[:, 2:] * height], 1)


def block() -> Mesh:
    """A cube of 5 cm."""
    v = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (0, 2)]) * 0.025
    f = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4),
         (1, 5, 7), (1, 7, 3)]
    return v, np.array(f)


def ball() -> Mesh:
    """A sphere of 5.2 cm."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 13)
    return revolve([(max(0.026 * np.cos(a), 1e-4), 0.026 + 0.026 * np.sin(a)) for a in t])


def can() -> Mesh:
    """The wall of a drinks can, 4.6 cm wide and 7.5 cm high."""
    return revolve([(1e-4, 0), (0.020, 0), (0.023, 0.004), (0.023, 0.072), (0.0205, 0.0755),
                    (0.0145, 0.0755)])


def can_lid() -> Mesh:
    """Its metal lid, sunk behind a rim."""
    return revolve([(0.0145, 0.0755), (0.014, 0.0735), (1e-4, 0.0735)])


def bottle() -> Mesh:
    """A bottle, 4 cm wide, with a neck."""
    return revolve([(1e-4, 0), (0.020, 0), (0.020, 0.060), (0.016, 0.074), (0.0085, 0.084), (0.0085, 0.096)])


def bottle_cap() -> Mesh:
    """Its screw cap; the whole stands 11 cm high."""
    return revolve([(0.0085, 0.094), (0.0105, 0.094), (0.0105, 0.112), (1e-4, 0.112)])


def mug() -> Mesh:
    """The outside of a mug, 5 cm wide, with a handle."""
    cup = revolve([(1e-4, 0), (0.023, 0), (0.025, 0.004), (0.025, 0.052), (0.020, 0.052)])
    return join(cup, torus_arc(0.015, 0.005, (0.024, 0, 0.027)))


def mug_inside() -> Mesh:
    """Its glazed inside."""
    return revolve([(0.020, 0.052), (0.019, 0.006), (1e-4, 0.006)])


def bowl() -> Mesh:
    """A bowl, 7.6 cm wide and 3.2 cm high."""
    t = np.linspace(0.15, np.pi / 2, 7)
    outer = [(0.038 * np.sin(a), 0.032 * (1 - np.cos(a))) for a in t]
    inner = [(0.034 * np.sin(a), 0.004 + 0.028 * (1 - np.cos(a))) for a in t[::-1]]
    return revolve([(1e-4, 0), *outer, *inner, (1e-4, 0.005)], segments=28)


def brick() -> Mesh:
    """A block that is no cube: 6 x 4 x 3 cm."""
    vertices, faces = block()
    return vertices * (1.2, 0.8, 0.6), faces


def egg() -> Mesh:
    """A ball that is no sphere, 4.6 cm wide and 6.4 cm high, in coarse facets."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 7)
    return revolve([(max(0.023 * np.cos(a), 1e-4), 0.032 + 0.032 * np.sin(a)) for a in t], segments=9)


def slim_can() -> Mesh:
    """The wall of a slim, tall can, 4 cm wide and 8.8 cm high, narrower at its foot."""
    return revolve([(1e-4, 0), (0.015, 0), (0.020, 0.008), (0.020, 0.084), (0.0175, 0.088), (0.0135, 0.088)])


def slim_can_lid() -> Mesh:
    """Its metal lid."""
    return revolve([(0.0135, 0.088), (0.013, 0.0865), (1e-4, 0.0865)])


def flask() -> Mesh:
    """A bottle with a round belly and a long neck."""
    return revolve([(1e-4, 0), (0.014, 0), (0.0215, 0.014), (0.0235, 0.030), (0.020, 0.046), (0.0075, 0.060),
                    (0.0075, 0.100)])


def flask_cork() -> Mesh:
    """Its stopper; the whole stands 11.2 cm high."""
    return revolve([(0.0065, 0.098), (0.0085, 0.112), (1e-4, 0.112)])


def tapered_mug() -> Mesh:
    """A mug that widens upwards, with a small low handle."""
    cup = revolve([(1e-4, 0), (0.017, 0), (0.026, 0.046), (0.0215, 0.046)])
    return join(cup, torus_arc(0.011, 0.004, (0.021, 0, 0.022)))


def tapered_mug_inside() -> Mesh:
    """Its inside."""
    return revolve([(0.0215, 0.046), (0.0145, 0.005), (1e-4, 0.005)])


def steep_bowl() -> Mesh:
    """A bowl with straight, steep walls, 7 cm wide and 3.6 cm high."""
    return revolve([(1e-4, 0), (0.020, 0), (0.035, 0.036), (0.031, 0.036), (0.018, 0.005), (1e-4, 0.005)], segments=12)


# Parts of every shape, and the RGB of those that do not take the object's colour.
METAL, GLAZE, PLASTIC = (0.72, 0.73, 0.75), (0.93, 0.92, 0.88), (0.13, 0.13, 0.14)
PARTS = {"block": ((block, None),), "ball": ((ball, None),), "can": ((can, None), (can_lid, METAL)),
         "bottle": ((bottle, None), (bottle_cap, PLASTIC)), "mug": ((mug, None), (mug_inside, GLAZE)),
         "bowl": ((bowl, None),)}
# Other things that go by the same names; scenes to train on never show them.
UNSEEN_PARTS = {"block": ((brick, None),), "ball": ((egg, None),), "can": ((slim_can, None), (slim_can_lid, METAL)),
                "bottle": ((flask, None), (flask_cork, (0.62, 0.47, 0.33))),
                "mug": ((tapered_mug, None), (tapered_mug_inside, GLAZE)), "bowl": ((steep_bowl, None),)}
