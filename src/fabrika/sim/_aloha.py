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
_FINGER = {"kp": 3000, "kv": 40, "force": 30.0, "armature": 0.1}  # [N/m], [Ns/m], [N], [kg]
_FINGER_SPEED = 0.12  # [m/s], of the opening
_PADS = (
    # name, half sizes and centre [m]; the face at y = 0 is the inner one, y grows outward
    ("pad", (0.032, 0.003, 0.008), (0.052, 0.003, 0.0)),
    ("back", (0.020, 0.009, 0.022), (0.015, 0.0125, 0.0)),
)
_HIDDEN = ("8_gripper_prop", "10_left_gripper_finger", "10_right_gripper_finger")
"""Meshes that only cameras see: what can touch of them has shapes of its own."""

_ASSUMPTIONS = (
    "The arms stand on columns of 0.75 m; in the original, on the table itself.",
    "Servo gains, rotor inertias and accelerations are chosen so that positions are held.",
    "Torques are the stall torques of the motors that the arms are sold with, two each at "
    "shoulder and elbow; speeds are 80 % of theirs without load.",
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
    x, _, z = body.get("pos", "").split()
    body.set("pos", f"{x} {sign * FACE} {z}")
    widest = max(abs(float(value)) for value in joint.get("range", "").split())
    joint.set("axis", f"0 {sign} 0")
    joint.set("range", f"0 {widest - FACE:.6g}")
    joint.set("armature", str(_FINGER["armature"]))
    own, other = (4, 8) if side == "left" else (8, 4)
    for name, half, (px, py, pz) in _PADS:
        ElementTree.SubElement(body, "geom", {
            "name": f"{joint.get('name')}_{name}", "class": "skin", "type": "box", "mass": "0",
            "contype": str(own), "conaffinity": str(1 | 2 | 32 | other),
            "size": " ".join(map(str, half)), "pos": f"{px} {sign * (py - FACE):.6g} {pz}",
        })  # fmt: skip
    _, (a, b, c), (px, py, pz) = _PADS[0]
    ElementTree.SubElement(body, "site", {
        "name": f"{joint.get('name')}_pad", "class": "touch", "type": "box",
        "size": f"{a + 0.002} {b + 0.002} {c + 0.002}",
        "pos": f"{px} {sign * (py - FACE):.6g} {pz}",
    })  # fmt: skip


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
            kp = _FINGER["kp"] if group.hand else _MOTORS[name.partition("_")[2]][0]
            damping = f'kv="{_FINGER["kv"]}"' if group.hand else 'dampratio="1"'
            yield (
                f'<position name="{name}" {target}="{name}" kp="{kp}" {damping} '
                f'ctrlrange="{low} {high}" forcerange="-{torque} {torque}"/>'
            )


def _mjcf(arms: Mapping[str, Element], groups: Mapping[str, Group]) -> str:
    """The whole robot as one MJCF document."""
    top = next(camera for camera in _read("scene.xml").iter("camera") if camera.get("name") == "top")
    fingers = [(side, f"{side}_left_finger", f"{side}_right_finger") for side in SIDES]
    stands = "".join(
        f'<geom name="{side}_stand" class="link" type="box" size="0.06 0.06 {HEIGHT / 2}" '
        f'pos="{arms[side].get("pos", "").split()[0]} 0.5 {-HEIGHT / 2}" rgba=".6 .6 .62 1"/>'
        for side in SIDES
    )
    tendons = "".join(
        f'<fixed name="{s}_gripper"><joint joint="{a}" coef="1"/><joint joint="{b}" coef="1"/></fixed>'
        for s, a, b in fingers
    )
    return f"""<mujoco model="ALOHA">
<compiler angle="radian" autolimits="true"/>
{_DEFAULTS}
<asset>{_meshes()}</asset>
<worldbody>
 <body name="aloha">
  <body name="stands" pos="-0.5 0 {HEIGHT}" euler="0 0 {-1.5707963267948966}">
   {stands}
   <camera name="top" pos="{top.get("pos")}" fovy="{top.get("fovy")}"/>
   {"".join(_text(arm) for arm in arms.values())}
  </body>
 </body>
</worldbody>
<tendon>{tendons}</tendon>
<equality>{"".join(f'<joint joint1="{a}" joint2="{b}"/>' for _, a, b in fingers)}</equality>
<contact>{"".join(map(_excludes, SIDES))}</contact>
<actuator>{"".join(_servos(groups))}</actuator>
<sensor>{"".join(f'<touch name="{n}_touch" site="{n}_pad"/>' for _, a, b in fingers for n in (a, b))}
</sensor>
</mujoco>"""


def _excludes(side: str) -> str:
    """Neighbours whose hulls overlap by design."""
    pairs = (("base", "shoulder_link"), ("base", "upper_arm_link"))
    return "".join(f'<exclude body1="{side}_{a}" body2="{side}_{b}"/>' for a, b in pairs)


def _home() -> list[float]:
    """Joint positions of both arms in their keyframe, their order: 6 joints and 2 fingers each."""
    key = _read("bimanual_viperx_transfer_cube.xml").find("keyframe/key")
    assert key is not None
    return [float(value) for value in key.get("qpos", "").split()[:16]]


def _groups(arms: Mapping[str, Element], home: list[float]) -> dict[str, Group]:
    groups = {}
    for side, start in zip(SIDES, (home[:8], home[8:]), strict=True):
        names = tuple(f"{side}_{joint}" for joint in _MOTORS)
        low, high = zip(*(_range(arms[side], name) for name in names), strict=True)
        groups[f"{side}_arm"] = Group(
            actuators=names,
            names=names,
            unit="rad",
            low=low,
            high=high,
            velocity=(_SPEED,) * len(names),
            acceleration=_ACCELERATION,
            torque=tuple(torque for _, torque, _ in _MOTORS.values()),
            home=tuple(start[: len(names)]),
        )
    for side, start in zip(SIDES, (home[:8], home[8:]), strict=True):
        widest = 2 * _range(arms[side], f"{side}_left_finger")[1]
        groups[f"{side}_hand"] = Group(
            actuators=(f"{side}_gripper",),
            names=(f"{side}_gripper",),
            unit="m",
            low=(0.0,),
            high=(float(f"{widest:.6g}"),),
            velocity=(_FINGER_SPEED,),
            acceleration=2.0,
            torque=(_FINGER["force"],),
            home=(2 * (start[6] - FACE),),
            hand=True,
            closes=-1,
        )
    return groups


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
            )
            for side in SIDES
        },
        cameras=("top", "left_wrist", "right_wrist"),
        assumptions=_ASSUMPTIONS,
    )


def __getattr__(name: str) -> Robot:
    """``ALOHA``, for the entry point: made when it is asked for."""
    if name == "ALOHA":
        return aloha()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
