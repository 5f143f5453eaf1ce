"""Renders random tabletop scenes with MuJoCo, with exact boxes from segmentation.

One model is compiled; for every scene its bodies are moved and recoloured, which is ten times faster than compiling.
Software rendering is enough: OSMesa is chosen when no other `MUJOCO_GL` is set.
"""

from __future__ import annotations

import colorsys
import os
from dataclasses import dataclass

import cv2
import numpy as np

from clue_ros.tabletop import meshes
from clue_ros.tabletop.families import FAMILIES, Parts
from clue_ros.tabletop.scene import Scene, SceneObject
from clue_ros.tabletop.world import COLOUR_RANGES, UNSEEN_RANGES, World

os.environ.setdefault("MUJOCO_GL", "osmesa")
COPIES = 4  # bodies of one shape and size: no scene has more of them
AWAY = np.array([0.0, 0.0, -50.0])
UNPAINTED = (1.0, 0.0, 0.0)  # of the parts that take the object's colour, until a scene gives them one


class RenderingUnavailable(RuntimeError):
    """OpenGL could not be set up; the message says what to install."""


@dataclass(frozen=True)
class Pose:
    """Where one object stands. slot: its body; xy metres on the table; yaw radians; rgb 0..1."""

    shape: str
    colour: str
    size: str
    slot: int
    xy: tuple[float, float]
    yaw: float
    rgb: tuple[float, float, float]


def noise_texture(rng: np.random.Generator, stretch: int) -> bytes:
    """PNG of smooth grey noise, uint8[128, 128, 3]; stretched noise looks like wood grain."""
    field = sum(cv2.resize(rng.random((2 ** k * stretch, 2 ** k)).astype(np.float32), (128, 128),
                           interpolation=cv2.INTER_CUBIC) / (k + 1) for k in range(2, 7))
    grey = 150 + 105 * (field - field.min()) / np.ptp(field)
    return cv2.imencode(".png", cv2.merge([grey.clip(0, 255).astype(np.uint8)] * 3))[1].tobytes()


def pattern_texture(rng: np.random.Generator, stretch: int) -> bytes:
    """PNG of stripes or checks in two greys, uint8[128, 128, 3]; more stripes the greater `stretch`."""
    y, x = np.indices((128, 128)) * (2 + stretch) // 32 % 2
    checked = (x ^ y) if rng.random() < 0.5 else x
    grey = np.where(checked, 255, rng.uniform(120, 215)).astype(np.uint8)
    return cv2.imencode(".png", cv2.merge([grey] * 3))[1].tobytes()


def forms_of(world: World, shape: str, rng: np.random.Generator) -> list[Parts]:
    """What the bodies of one shape look like, in large: all alike, or each another member of its family."""
    parts = meshes.UNSEEN_PARTS if "meshes" in world.unseen else meshes.PARTS
    forms = ([FAMILIES[shape](rng) for _ in range(COPIES)] if world.varied else
             [[(build(), rgb) for build, rgb in parts[shape]]])
    reshaped = []
    for form in forms:
        proportions = 1 + world.proportions * rng.uniform(-1, 1, 3)
        reshaped.append([((meshes.reshaped(vertices, *proportions), faces), rgb) for (vertices, faces), rgb in form])
    return reshaped


def model_xml(world: World, variant: int = 0) -> tuple[str, dict[str, bytes], list[tuple[str, str]]]:
    """The MuJoCo model, its texture files, and (shape, size) of every slot. variant: of textures and proportions."""
    rng = np.random.default_rng((7, variant))
    draw = pattern_texture if "surfaces" in world.unseen else noise_texture
    textures = {f"cloth{i}.png": draw(rng, (1, 1, 4, 8)[i % 4]) for i in range(8)}
    slots = [(shape, size) for shape in world.shapes for size in world.sizes for _ in range(COPIES)]
    forms = {shape: forms_of(world, shape, rng) for shape in world.shapes}
    numbers = lambda a: " ".join(f"{v:.6g}" for v in np.asarray(a).ravel())  # noqa: E731
    assets = "".join(f'<texture name="{n}" type="2d" file="{n}"/><material name="{n}" texture="{n}" texuniform="true" '
                     f'texrepeat="3 3" specular="0.1"/>' for n in textures)
    assets += "".join(
        f'<mesh name="{shape}-{size}-{form}-{part}" inertia="shell" face="{numbers(faces)}" '
        f'vertex="{numbers(vertices * (world.scale_small if size == "small" else 1.0))}"/>'
        for shape in world.shapes for size in world.sizes
        for form, parts in enumerate(forms[shape]) for part, ((vertices, faces), _) in enumerate(parts))
    bodies = "".join(
        f'<body name="slot{i}" mocap="true" pos="0 0 -50">' + "".join(
            f'<geom type="mesh" mesh="{shape}-{size}-{form}-{part}" material="gloss{i % 3}" '
            f'rgba="{numbers(rgb or UNPAINTED)} 1"/>'
            for part, (_, rgb) in enumerate(forms[shape][form])) + "</body>"
        for i, (shape, size) in enumerate(slots) for form in [i % COPIES % len(forms[shape])])
    clutter = "".join(f'<body name="clutter{i}" mocap="true" pos="0 0 -50"><geom type="box" size=".1 .02 .003"/></body>'
                      for i in range(world.clutter))
    width, height = world.resolution
    xml = f"""<mujoco><statistic extent="1" center="0 0 0"/><visual><quality shadowsize="512" offsamples="4"/><map znear="0.01" zfar="60"/>
    <global offwidth="{width}" offheight="{height}"/></visual><asset>{assets}
    <material name="flat" specular="0.05"/><material name="gloss0" specular="0.1" shininess="0.1"/>
    <material name="gloss1" specular="0.4" shininess="0.4"/><material name="gloss2" specular="0.8" shininess="0.8"/></asset>
    <worldbody><light name="key" pos="0 0 2" dir="0 0 -1" directional="true"/>
    <light name="fill" pos="0 0 2" dir="0 0 -1" directional="true" castshadow="false"/>
    <body mocap="true" name="camera"><camera name="camera"/></body>
    <geom name="floor" type="plane" size="20 20 1" pos="0 0 -0.4" material="flat"/>
    <geom name="table" type="box" size="5 5 0.01" pos="0 0 -0.01" material="flat"/>{bodies}{clutter}</worldbody></mujoco>"""
    return xml, textures, slots


class Renderer:
    """Draws random scenes: `sample` gives poses and a camera, `draw` pixels and truth.

    variant: of the meshes' proportions and the cloths, which are the same for all scenes of one renderer.
    """

    def __init__(self, world: World = World(), variant: int = 0):
        import mujoco
        self.mujoco, self.world = mujoco, world
        xml, textures, self.slots = model_xml(world, variant)
        self.model = mujoco.MjModel.from_xml_string(xml, textures)
        self.data = mujoco.MjData(self.model)
        unpainted = (self.model.geom_rgba[:, :3] == UNPAINTED).all(1)
        self.painted = [[geom for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]) if unpainted[geom]]
                        for body in (self.model.body(f"slot{i}") for i in range(len(self.slots)))]
        width, height = world.resolution
        try:
            self.colour = mujoco.Renderer(self.model, height, width)
            self.model.vis.quality.offsamples = 0  # a GPU's samples would blend the labels at an edge into another object's
            self.labels = mujoco.Renderer(self.model, height, width)
        except Exception as error:
            raise RenderingUnavailable("software OpenGL is missing: `apt-get install libosmesa6` (or `make gl`), "
                                       f"or set MUJOCO_GL=egl on a machine with a GPU ({error})") from error
        self.labels.enable_segmentation_rendering()
        self.body = {name: self.model.body(name).mocapid[0] for name in
                     ["camera"] + [f"slot{i}" for i in range(len(self.slots))]
                     + [f"clutter{i}" for i in range(world.clutter)]}

    def close(self) -> None:
        """Free the OpenGL contexts; to be called before the interpreter ends."""
        self.colour.close()
        self.labels.close()

    # -- choosing ------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator) -> list[Pose]:
        """A random camera and look of the room (set on the model), and random poses of as many objects as found room."""
        self._dress(rng)
        self._aim(rng)
        return self._scatter(rng)

    def _dress(self, rng: np.random.Generator) -> None:
        """Random table, floor, lights and clutter."""
        model, world = self.model, self.world
        self.dark = dark = rng.random() < world.dark_table
        tint = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.55), 1.0))
        level = rng.uniform(0.02, 0.22) if dark else rng.uniform(0.3, 1.0)
        table = model.geom("table").id
        textured = rng.random() < world.textured_table
        model.geom_matid[table] = model.material(f"cloth{rng.integers(8)}.png" if textured else "flat").id
        model.geom_rgba[table] = [*(tint * level), 1]
        model.geom_size[table, :2] = rng.uniform(0.16, 0.4, 2) if rng.random() < world.table_edge else 5.0
        model.geom_rgba[model.geom("floor").id] = [*rng.uniform(0.02, 0.95) * rng.uniform(0.7, 1, 3), 1]
        total = rng.uniform(0.85, 1.3)
        ambient, fill = total * rng.uniform(0.2, 0.5), total * rng.uniform(0.05, 0.3)
        for name, strength in (("key", total - ambient - fill), ("fill", fill)):
            light = model.light(name).id
            direction = np.array([*rng.uniform(-0.8, 0.8, 2), -1.0])
            model.light_dir[light] = direction / np.linalg.norm(direction)
            model.light_pos[light] = -2 * model.light_dir[light]
            model.light_diffuse[light] = strength * rng.uniform(0.92, 1.08, 3)
            model.light_specular[light] = 0.3
        model.light_castshadow[model.light("key").id] = rng.random() < 0.7
        model.vis.headlight.ambient[:] = ambient
        model.vis.headlight.diffuse[:] = 0.1
        for i in range(world.clutter):
            here = rng.random() < 0.25
            spot = rng.uniform(-0.25, 0.25, 2) if here else (0, 0)
            self._place(f"clutter{i}", (*spot, 0.001 if here else -50), rng.uniform(0, np.pi))
            geom = model.body(f"clutter{i}").geomadr[0]
            model.geom_rgba[geom] = [*rng.uniform(0.05, 0.95) * rng.uniform(0.85, 1, 3), 1]
            model.geom_size[geom, :2] = rng.uniform(0.004, 0.15), rng.uniform(0.003, 0.02)

    def _aim(self, rng: np.random.Generator) -> None:
        """Random camera looking at the origin of the table."""
        world = self.world
        top = rng.random() < world.top_down
        elevation = np.radians(rng.uniform(84, 90) if top else rng.uniform(*world.elevation))
        azimuth, roll = np.radians(rng.uniform(*world.azimuth)), np.radians(rng.uniform(*world.roll))
        aspect = world.resolution[0] / world.resolution[1]
        share, view = rng.uniform(*world.block_width), rng.uniform(*world.field_of_view)
        self.model.cam_fovy[self.model.camera("camera").id] = view
        self.half = np.tan(np.radians(view) / 2)  # half the image's height at a distance of 1
        distance = 0.05 / (share * 2 * self.half * aspect)
        back = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        up = np.cross(back, right)
        right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        self.eye, self.axes = distance * back, np.stack([right, up, back], 1)
        quat = np.empty(4)
        self.mujoco.mju_mat2Quat(quat, self.axes.ravel())
        self.data.mocap_pos[self.body["camera"]] = self.eye
        self.data.mocap_quat[self.body["camera"]] = quat

    def _scatter(self, rng: np.random.Generator) -> list[Pose]:
        """Objects at places spread evenly over the image, none inside another."""
        world = self.world
        free = {key: [i for i, s in enumerate(self.slots) if s == key] for key in set(self.slots)}
        only = str(rng.choice(world.shapes)) if rng.random() < world.single_shape else None
        if only and rng.random() < 0.4:
            only = world.shapes[0]
        one_size = str(rng.choice(world.sizes[-1:] * 2 + world.sizes)) if rng.random() < 0.5 else None
        poses: list[Pose] = []
        count = int(rng.integers(world.objects[0], world.objects[1] + 1))
        for _ in range(count * 8):
            if len(poses) == count:
                break
            shape, colour = only or str(rng.choice(world.shapes)), str(rng.choice(world.colours))
            if poses and rng.random() < world.repeat:
                twin = poses[rng.integers(len(poses))]
                shape, colour = twin.shape, (twin.colour if rng.random() < 0.75 else colour)
            if self.dark and colour == "black":
                continue  # black on black is no fair question
            size = one_size or str(rng.choice(world.sizes))
            xy = self._ground(rng.uniform(0.11, 0.89), rng.uniform(0.13, 0.88))
            radius = lambda p: 0.036 * (world.scale_small if p == "small" else 1.0)  # noqa: E731
            close = any(np.hypot(xy[0] - p.xy[0], xy[1] - p.xy[1]) < radius(size) + radius(p.size) for p in poses)
            if close or not free[shape, size]:
                continue
            poses.append(Pose(shape, colour, size, free[shape, size].pop(), xy, rng.uniform(0, 2 * np.pi),
                              sample_colour(colour, rng, unseen="surfaces" in world.unseen)))
        return poses

    def _ground(self, u: float, v: float) -> tuple[float, float]:
        """Point of the table (metres) seen at image fractions u, v."""
        aspect = self.world.resolution[0] / self.world.resolution[1]
        ray = self.axes @ np.array([(2 * u - 1) * self.half * aspect, (1 - 2 * v) * self.half, -1.0])
        return tuple((self.eye - ray * self.eye[2] / ray[2])[:2])

    def _place(self, body: str, pos: tuple[float, float, float], yaw: float) -> None:
        self.data.mocap_pos[self.body[body]] = pos
        self.data.mocap_quat[self.body[body]] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]

    # -- drawing -------------------------------------------------------------------------------------------------

    def draw(self, poses: list[Pose], identity: int = 0, name: str = "") -> tuple[np.ndarray, Scene] | None:
        """uint8[H, W, 3] RGB and its truth, or None when an object is hidden or cut off beyond the world's limits."""
        for i in range(len(self.slots)):
            self.data.mocap_pos[self.body[f"slot{i}"]] = AWAY
        for pose in poses:
            self._place(f"slot{pose.slot}", (*pose.xy, 0.0), pose.yaw)
            self.model.geom_rgba[self.painted[pose.slot]] = [*pose.rgb, 1]
        self.mujoco.mj_forward(self.model, self.data)
        self.labels.update_scene(self.data, "camera")
        geoms = self.labels.render()[..., 0]
        objects = []
        for pose in poses:
            seen = self._outline(pose, geoms)
            if seen is None:
                return None
            objects.append(SceneObject(pose.shape, pose.colour, pose.size, *seen))
        self.colour.update_scene(self.data, "camera")
        return self.colour.render(), Scene(identity, name, tuple(objects))

    def _outline(self, pose: Pose, geoms: np.ndarray) -> tuple[tuple[float, float, float, float], float] | None:
        """Box of the visible pixels and visible share; None when hidden or touching the image border."""
        height, width = geoms.shape
        body = self.model.body(f"slot{pose.slot}")
        parts = range(int(body.geomadr[0]), int(body.geomadr[0] + body.geomnum[0]))
        ys, xs = np.nonzero((geoms >= parts.start) & (geoms < parts.stop))
        if len(xs) < 20 or xs.min() == 0 or ys.min() == 0 or xs.max() == width - 1 or ys.max() == height - 1:
            return None
        pixels = np.concatenate([self._project(geom) for geom in parts])
        whole = cv2.contourArea(cv2.convexHull(pixels.astype(np.float32)))
        visible = min(1.0, len(xs) / max(whole, 1.0))
        if visible < self.world.min_visible:
            return None
        return (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height), float(visible)

    def _project(self, geom: int) -> np.ndarray:
        """Image points of a geom's vertices, float64[V, 2] in pixels."""
        width, height = self.world.resolution
        mesh = self.model.geom_dataid[geom]
        start, count = self.model.mesh_vertadr[mesh], self.model.mesh_vertnum[mesh]
        world = self.model.mesh_vert[start:start + count] @ self.data.geom_xmat[geom].reshape(3, 3).T
        local = (world + self.data.geom_xpos[geom] - self.eye) @ self.axes
        focal = height / 2 / self.half
        return np.stack([width / 2 - focal * local[:, 0] / local[:, 2],
                         height / 2 + focal * local[:, 1] / local[:, 2]], 1)


def sample_colour(name: str, rng: np.random.Generator, *, unseen: bool = False) -> tuple[float, float, float]:
    """A random RGB (0..1) that the colour word describes."""
    hue, saturation, value = (rng.uniform(*bounds) for bounds in (UNSEEN_RANGES if unseen else COLOUR_RANGES)[name])
    return colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
