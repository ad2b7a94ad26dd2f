"""ALOHA's two ViperX arms with parallel grippers: a robot that others made, from their own files.

The model's files come with the package ``gym-aloha`` (the extra ``aloha``). Nothing of it is
copied here, and none of its code is run: the folder is found, the two arms are read, and what
Fabrika needs is changed on the way. Their table, lights, keyframe objects and actuators stay
behind; joints get position servos, a gripper's two fingers become one opening, and pads that
feel and grip.

Frames: x forward as the operator looks, y left, z up; the root is on the floor between the arms.
Palm frame, in the gripper's link: x distal, along which the hand moves onto a thing; y the axis
along which the fingers close; z up when the arm is stretched out; the origin is on the axis of
the last joint. Collision bits as in ``_cloid.py``: 1 things, 2 links, 4 and 8 left and right
fingers, 32 fixtures. The fingers of one hand do not collide: their stop is at opening 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from math import pi
from pathlib import Path
from xml.etree import ElementTree

from fabrika._errors import ResourceError
from fabrika.sim._robot import Group, Hand, Robot

Element = ElementTree.Element
SIDES = ("left", "right")
HEIGHT = 0.75
"""Height of the arms' base plates above the floor [m]: that of a table."""
FACE = 0.0224
"""Distance of a finger's inner face from the origin of its body, in their mesh [m]."""
POCKET = (0.135, 0.0, 0.0)
"""Between the pads, in the palm's frame [m]: 19 mm before the fingertips."""
_MOTORS = {
    # joint: kp [Nm/rad], torque [Nm], armature [kg m2]
    "waist": (1200, 10.6, 0.05),
    "shoulder": (1600, 21.2, 0.10),
    "elbow": (1200, 21.2, 0.10),
    "forearm_roll": (400, 10.6, 0.05),
    "wrist_angle": (400, 10.6, 0.05),
    "wrist_rotate": (200, 4.1, 0.02),
}
_SPEED, _ACCELERATION = 2.5, 10.0  # [rad/s], [rad/s2]
_GRIP = 30.0  # [N], of each finger
_STIFF, _DAMPED, _ROTOR = 3000, 40, 0.1  # [N/m], [Ns/m] of the opening, [kg] of each finger
_FINGER_SPEED, _FINGER_ACCELERATION = 0.12, 2.0  # [m/s], [m/s2], of the opening
_Box = tuple[tuple[float, float, float], tuple[float, float, float]]
_PAD: _Box = ((0.032, 0.003, 0.008), (0.052, 0.003, 0.0))
_BACK: _Box = ((0.020, 0.009, 0.022), (0.015, 0.0125, 0.0))
_FELT: _Box = ((0.034, 0.005, 0.010), (0.052, 0.003, 0.0))
"""Half sizes and centre [m] of a finger's pad, of the carriage behind it, and of where it feels.

From the inner face outward, and distally from the finger's origin.
"""
_POSTURES = (
    (0.0, -0.5, 0.7, 0.0, 1.37, 0.0),  # the gripper points down
    (0.0, 0.1, 0.3, 0.0, 0.6, 0.0),  # far out, slanted
    (0.0, -0.4, 0.8, 0.0, -0.3, 0.0),  # level
)
_REST = (0.0, -1.6, 1.5, 0.0, 0.3, 0.0)
"""Drawn back over its column, 0.2 m above the table."""
_HIDDEN = ("8_gripper_prop", "10_left_gripper_finger", "10_right_gripper_finger")
"""Meshes that only cameras see: what can touch of them has shapes of its own."""

_ASSUMPTIONS = (
    "The arms stand on columns of 0.75 m; in the original, on the table itself.",
    "Servo gains, rotor inertias and accelerations are chosen so that positions are held.",
    "Torques are the stall torques of Dynamixel motors: XM540-W270, two at shoulder and elbow, "
    "and XM430-W350 at the last joint; speeds are 80 % of the former's without load.",
    "Arms and grippers are gravity-compensated, as by a feed-forward in the servo.",
    "Joint friction of the original model, 30 to 60 Nm to hold it still, is left out.",
    "The fingers are coupled as by a rack; together they press with up to 30 N on each side.",
    "Fingers touch with boxes: a flat pad of 64 x 16 mm, and the carriage behind it.",
    "Touch is the normal force on each pad; no shear, no tactile picture.",
)

_DEFAULTS = """<default>
  <geom solref="0.008 1" solimp="0.95 0.99 0.001" condim="4" friction="0.8"/>
  <default class="link"><geom contype="2" conaffinity="3" rgba=".18 .18 .20 1"/></default>
  <default class="skin"><geom priority="1" group="3"/></default>
  <default class="look">
    <geom contype="0" conaffinity="0" mass="0" group="2" rgba=".10 .10 .11 1"/>
  </default>
  <default class="touch"><site rgba="0 0 0 0" group="4"/></default>
  <joint solreflimit="0.008 1"/>
  <equality solref="0.008 1"/>
</default>"""


def _assets() -> Path:
    """The folder of the model's files. Raises `ResourceError` where it is not installed."""
    found = find_spec("gym_aloha")
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place) / "assets"
        if (folder / "vx300s_left.xml").is_file():
            return folder.resolve()
    raise ResourceError(
        "the robot 'aloha' needs the files of gym-aloha, which is not installed: "
        "pip install 'fabrika[aloha]', or only the files: pip install --no-deps gym-aloha."
    )


def _read(name: str) -> Element:
    return ElementTree.parse(_assets() / name).getroot()


def _meshes() -> str:
    """Their meshes, by absolute paths, so that the text can stand in any document."""
    meshes = list(_read("vx300s_dependencies.xml").iter("mesh"))
    for mesh in meshes:
        mesh.set("file", str(_assets() / mesh.get("file", "")))
        mesh.set("maxhullvert", "32")
    return "".join(map(_text, meshes))


def _text(element: Element) -> str:
    return ElementTree.tostring(element, encoding="unicode")


def _arm(side: str) -> Element:
    """One arm: their body tree with our names, collision bits, pads and joints without friction."""
    body = _read(f"vx300s_{side}.xml").find("body")
    assert body is not None
    for element in body.iter():
        for key in ("name", "target"):
            if key in element.attrib:
                element.set(key, element.get(key, "").replace(f"vx300s_{side}/", f"{side}_"))
    body.set("name", f"{side}_base")
    for part in body.iter("body"):
        part.set("gravcomp", "1")
        for site in part.findall("site"):
            part.remove(site)
        for geom in part.findall("geom"):
            hidden = geom.get("name", "").removeprefix(f"{side}_") in _HIDDEN
            keep = ("name", "type", "mesh", "pos", "quat", "euler")
            geom.attrib = {key: geom.attrib[key] for key in keep if key in geom.attrib}
            geom.set("class", "look" if hidden else "link")
        for joint in part.findall("joint"):
            joint.attrib.pop("frictionloss")
            name = joint.get("name", "").removeprefix(f"{side}_")
            if name in _MOTORS:
                joint.set("armature", str(_MOTORS[name][2]))
            else:
                _finger(part, joint, side, 1 if name == "left_finger" else -1)
    return body


def _finger(body: Element, joint: Element, side: str, sign: int) -> None:
    """Make a finger's joint 0 where the pads meet and grow outward; add what touches and feels."""
    name, (x, _, z) = joint.get("name"), body.get("pos", "").split()
    body.set("pos", f"{x} {sign * FACE} {z}")
    widest = max(abs(float(value)) for value in joint.get("range", "").split())
    joint.set("axis", f"0 {sign} 0")
    joint.set("range", f"0 {widest - FACE:.6g}")
    joint.set("armature", str(_ROTOR))
    own, other = (4, 8) if side == "left" else (8, 4)
    skin = {"class": "skin", "contype": str(own), "conaffinity": str(1 | 2 | 32 | other)}
    touch = {"name": f"{name}_pad", "class": "touch"}
    for shape, half, more in (("geom", _PAD, skin), ("geom", _BACK, skin), ("site", _FELT, touch)):
        (a, b, c), (px, py, pz) = half
        where = {"size": f"{a} {b} {c}", "pos": f"{px} {sign * (py - FACE):.6g} {pz}"}
        mass = {"mass": "0"} if shape == "geom" else {}
        ElementTree.SubElement(body, shape, {**more, "type": "box", **where, **mass})


def _range(arm: Element, joint: str) -> tuple[float, float]:
    """Lowest and highest position of a joint of theirs."""
    found = next(j for j in arm.iter("joint") if j.get("name") == joint)
    low, high = (float(value) for value in found.get("range", "").split())
    return low, high


def _servos(groups: Mapping[str, Group]) -> Iterator[str]:
    """Position servos, in the order of the groups."""
    for group in groups.values():
        target = "tendon" if group.hand else "joint"
        for name, low, high, torque in zip(
            group.names, group.low, group.high, group.torque, strict=True
        ):
            kp = _STIFF if group.hand else _MOTORS[name.partition("_")[2]][0]
            damping = f'kv="{_DAMPED}"' if group.hand else 'dampratio="1"'
            yield (
                f'<position name="{name}" {target}="{name}" kp="{kp}" {damping} '
                f'ctrlrange="{low} {high}" forcerange="-{torque} {torque}"/>'
            )


def _mjcf(arms: Mapping[str, Element], groups: Mapping[str, Group]) -> str:
    """The whole robot as one MJCF document."""
    top = next(eye for eye in _read("scene.xml").iter("camera") if eye.get("name") == "top")
    stands = tendons = racks = touches = excludes = ""
    for side, arm in arms.items():
        x, y, _ = arm.get("pos", "").split()
        stands += (
            f'<geom name="{side}_stand" class="link" type="box" size="0.06 0.06 {HEIGHT / 2}" '
            f'pos="{x} {y} {-HEIGHT / 2}" rgba=".6 .6 .62 1"/>'
        )
        fingers = (f"{side}_left_finger", f"{side}_right_finger")
        both = "".join(f'<joint joint="{finger}" coef="1"/>' for finger in fingers)
        tendons += f'<fixed name="{side}_gripper">{both}</fixed>'
        racks += f'<joint joint1="{fingers[0]}" joint2="{fingers[1]}"/>'
        touches += "".join(f'<touch name="{f}_touch" site="{f}_pad"/>' for f in fingers)
        # Their hulls overlap by design.
        excludes += f'<exclude body1="{side}_base" body2="{side}_shoulder_link"/>'
    return f"""<mujoco model="ALOHA">
<compiler angle="radian" autolimits="true"/>
{_DEFAULTS}
<asset>{_meshes()}</asset>
<worldbody>
 <body name="aloha">
  <body name="stands" pos="-0.5 0 {HEIGHT}" euler="0 0 {-pi / 2}">
   {stands}<camera name="top" pos="{top.get("pos")}" fovy="{top.get("fovy")}"/>
   {"".join(map(_text, arms.values()))}
  </body>
 </body>
</worldbody>
<tendon>{tendons}</tendon>
<equality>{racks}</equality>
<contact>{excludes}</contact>
<actuator>{"".join(_servos(groups))}</actuator>
<sensor>{touches}</sensor>
</mujoco>"""


def _home() -> list[float]:
    """Joint positions of both arms in their keyframe, their order: 6 joints and 2 fingers each."""
    key = _read("bimanual_viperx_transfer_cube.xml").find("keyframe/key")
    assert key is not None
    return [float(value) for value in key.get("qpos", "").split()[:16]]


def _groups(arms: Mapping[str, Element], home: list[float]) -> dict[str, Group]:
    """Both arms, then both grippers. ``home``: see `_home`."""
    starts = dict(zip(SIDES, (home[:8], home[8:]), strict=True))
    names = {side: tuple(f"{side}_{joint}" for joint in _MOTORS) for side in SIDES}
    ranges = {side: [_range(arms[side], name) for name in names[side]] for side in SIDES}
    widest = {side: 2 * _range(arms[side], f"{side}_left_finger")[1] for side in SIDES}
    arm_groups = {
        f"{side}_arm": Group(
            actuators=names[side],
            names=names[side],
            unit="rad",
            low=tuple(low for low, _ in ranges[side]),
            high=tuple(high for _, high in ranges[side]),
            velocity=(_SPEED,) * len(_MOTORS),
            acceleration=_ACCELERATION,
            torque=tuple(torque for _, torque, _ in _MOTORS.values()),
            home=tuple(starts[side][: len(_MOTORS)]),
        )
        for side in SIDES
    }
    return arm_groups | {
        f"{side}_hand": Group(
            actuators=(f"{side}_gripper",),
            names=(f"{side}_gripper",),
            unit="m",
            low=(0.0,),
            high=(round(widest[side], 6),),
            velocity=(_FINGER_SPEED,),
            acceleration=_FINGER_ACCELERATION,
            torque=(_GRIP,),
            home=(round(2 * (starts[side][6] - FACE), 6),),
            hand=True,
            closes=-1,
        )
        for side in SIDES
    }


@cache
def aloha() -> Robot:
    """ALOHA: two ViperX arms of 6 joints with parallel grippers, from the files of gym-aloha.

    Raises `ResourceError` where they are not installed (the extra ``aloha``).
    """
    arms = {side: _arm(side) for side in SIDES}
    groups = _groups(arms, _home())
    return Robot(
        name="aloha",
        mjcf=_mjcf(arms, groups),
        root="aloha",
        base="aloha",
        groups=groups,
        hands={
            side: Hand(
                palm=f"{side}_gripper_link",
                fingers=f"{side}_hand",
                arm=f"{side}_arm",
                touch=(f"{side}_left_finger_touch", f"{side}_right_finger_touch"),
                open=(0.069,),
                closed=(0.0,),
                pocket=POCKET,
                thumb=(0.0, 0.0, 1.0),
                approach=(1.0, 0.0, 0.0),
                span=0.065,
                bounds=(-0.05, 0.154, 0.05),
                postures=_POSTURES,
                rest=_REST,
            )
            for side in SIDES
        },
        cameras=("top", "left_wrist", "right_wrist"),
        works_at=(0.0, 0.0),
        assumptions=_ASSUMPTIONS,
    )


def __getattr__(name: str) -> Robot:
    """``ALOHA``, for the entry point: made when it is asked for."""
    if name == "ALOHA":
        return aloha()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
