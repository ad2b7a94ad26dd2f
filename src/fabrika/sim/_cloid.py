"""A CLOiD-class home robot: from public facts, with every assumption named.

Public: wheeled base; height 105 to 143 cm by the waist; two arms of about 87 cm with seven
joints (shoulder 3, elbow 1, wrist 3); two hands with five individually driven fingers; a head
with cameras. Everything else is an assumption, listed in ``CLOID_CLASS.assumptions``.

Frames: x forward, y left, z up. With all joints at zero the arms hang down, palms inward.
Collision bits: 1 things, 2 links, 4 and 8 left and right fingers, 16 thumbs, 32 unused by
links. Fingers of one hand do not collide with each other or their palm; all else does.
"""

from __future__ import annotations

from math import cos, sin

from fabrika.sim._hand import (
    CLOSED,
    FINGERS,
    hand_actuators,
    hand_bodies,
    hand_excludes,
    hand_sensors,
    hand_tendons,
)
from fabrika.sim._robot import Flat, Group, Hand, Neck, Pinch, Robot

_ARM = (
    # joint, kp, torque [Nm], armature, low, high [rad], speed [rad/s], home [rad]
    ("shoulder_pitch", 4500, 120, 0.10, -1.0, 2.6, 2.0, -0.65),
    ("shoulder_roll", 4500, 120, 0.10, -0.3, 2.2, 2.0, 0.43),
    ("shoulder_yaw", 2400, 80, 0.06, -1.7, 1.7, 2.5, 0.95),
    ("elbow", 2400, 80, 0.06, 0.0, 2.6, 2.5, 2.25),
    ("wrist_yaw", 900, 30, 0.03, -2.0, 2.0, 3.0, 0.8),
    ("wrist_pitch", 900, 30, 0.03, -1.5, 1.5, 3.0, -0.5),
    ("wrist_roll", 900, 30, 0.03, -1.3, 1.3, 3.0, -0.37),
)
_ELBOW_OUT = (0.14, 0.55, -0.04, 1.76, 0.55, -0.25, 0.15)
"""The forearm clears the front edge of a counter."""
_ELBOW_UP = (0.80, 1.30, -0.80, 1.60, 0.30, -0.30, 0.00)
"""The forearm comes from above, over what is deep."""
_STRETCHED = (
    (0.90, 0.50, -1.00, 1.20, 0.90, -0.15, 0.40),
    (0.60, 0.50, -0.80, 1.50, 0.85, -0.12, 0.90),
)
"""The upper arm raised ahead, the wrist bent: further over an edge than both."""
_ELBOW_WIDE = (0.75, 0.95, -0.60, 1.70, -0.30, 0.75, -0.55)
"""The forearm comes from the side, over what is low."""
_ASLANT = 0.65
"""How far the thumb then points up from across [rad]."""
_PITCH = 0.26
"""How far the palm points down when the hand takes something from above [rad]."""
UPPER_ARM, FOREARM, WRIST_TO_PALM = 0.33, 0.31, 0.075  # [m]
SHOULDER = (0.04, 0.185, 0.80)
"""Left shoulder in the base frame with the lift at its lowest [m]; the right one is mirrored."""


def _arm(side: str) -> str:
    """One arm and its hand, hanging down. Mirrored joints turn the same way to the eye."""
    s = 1 if side == "left" else -1
    axes = ("0 -1 0", f"{s} 0 0", f"0 0 {s}", "0 -1 0", f"0 0 {s}", "0 -1 0", f"{s} 0 0")
    offsets = ("", "", "", f"0 0 {-UPPER_ARM}", "", f"0 0 {-FOREARM}", "")
    shapes = {
        "shoulder_roll": '<geom class="link" type="sphere" size="0.055" mass="1.5"/>',
        "shoulder_yaw": '<geom class="link" type="capsule" size="0.045" '
        f'fromto="0 0 -0.06 0 0 {-UPPER_ARM + 0.05}" mass="2.0"/>',
        "elbow": '<geom class="link" type="sphere" size="0.046" mass="0.6"/>',
        "wrist_yaw": '<geom class="link" type="capsule" size="0.038" '
        f'fromto="0 0 -0.05 0 0 {-FOREARM + 0.04}" mass="1.2"/>',
        "wrist_roll": '<geom class="link" type="capsule" size="0.028" '
        'fromto="0 0 -0.005 0 0 -0.028" mass="0.4"/>',
    }
    hollow = '<inertial pos="0 0 0" mass="0.3" diaginertia="1e-3 1e-3 1e-3"/>'
    text = f'<body name="{side}_shoulder_pitch" pos="{SHOULDER[0]} {s * SHOULDER[1]} 0">'
    for index, (name, _, _, armature, low, high, _, _) in enumerate(_ARM):
        if index:
            place = f' pos="{offsets[index]}"' if offsets[index] else ""
            text += f'<body name="{side}_{name}"{place}>'
        text += (
            f'<joint name="{side}_{name}" axis="{axes[index]}" range="{low} {high}" '
            f'armature="{armature}" class="arm"/>'
        )
        text += shapes.get(name, hollow)
    text += (
        f'<body name="{side}_palm" pos="0 0 {-WRIST_TO_PALM}" xyaxes="0 0 -1 {s} 0 0">'
        f'<camera name="{side}_wrist" pos="-0.085 {s * 0.01} 0.075" fovy="75" '
        'xyaxes="0 -1 0 0.5 0 0.866"/>'
        f'<geom type="box" class="look" size="0.012 0.02 0.012" '
        f'pos="-0.085 {s * 0.01} 0.06" rgba=".1 .1 .1 1"/>'
        f"{hand_bodies(side, s)}</body>"
    )
    return text + "</body>" * len(_ARM)


def _mjcf() -> str:
    """The whole robot as one MJCF document."""
    sides = ("left", "right")
    arms = "".join(_arm(side) for side in sides)
    excludes = "".join(
        f'<exclude body1="torso" body2="{s}_shoulder_roll"/>'
        f'<exclude body1="torso" body2="{s}_shoulder_yaw"/>'
        f'<exclude body1="{s}_shoulder_roll" body2="{s}_elbow"/>'
        f'<exclude body1="{s}_shoulder_yaw" body2="{s}_wrist_yaw"/>'
        f'<exclude body1="{s}_wrist_yaw" body2="{s}_wrist_roll"/>'
        f'<exclude body1="{s}_wrist_yaw" body2="{s}_palm"/>'
        f'<exclude body1="{s}_wrist_roll" body2="{s}_thumb_1"/>' + hand_excludes(s)
        for s in sides
    )
    arm_servos = "".join(
        f'<position name="{s}_{name}" joint="{s}_{name}" kp="{kp}" dampratio="1" '
        f'ctrlrange="{low} {high}" forcerange="-{torque} {torque}"/>'
        for s in sides
        for name, kp, torque, _, low, high, _, _ in _ARM
    )
    text = f"""<mujoco model="cloid-class">
<compiler angle="radian" autolimits="true"/>
<default>
  <geom solref="0.008 1" solimp="0.95 0.99 0.001" condim="4" friction="0.8"/>
  <default class="link">
    <geom contype="2" conaffinity="3" rgba=".88 .89 .91 1"/>
  </default>
  <default class="skin"><geom priority="1" rgba=".25 .27 .30 1"/></default>
  <default class="look"><geom contype="0" conaffinity="0" mass="0" group="2"/></default>
  <default class="touch"><site rgba="0 0 0 0" group="4"/></default>
  <joint solreflimit="0.004 1"/>
  <default class="arm"><joint type="hinge" damping="1"/></default>
  <default class="finger">
    <joint type="hinge" axis="0 -1 0" range="0 1.6" armature="5e-4" damping="0.02"/>
  </default>
</default>
<worldbody>
 <body name="robot">
  <body name="base">
   <joint name="base_x" type="slide" axis="1 0 0" damping="20"/>
   <joint name="base_y" type="slide" axis="0 1 0" damping="20"/>
   <joint name="base_yaw" type="hinge" axis="0 0 1" damping="5"/>
   <geom class="link" type="cylinder" size="0.21 0.11" pos="0 0 0.15" mass="38"
         rgba=".93 .93 .94 1"/>
   <geom class="link" type="box" size="0.055 0.075 0.13" pos="-0.05 0 0.38" mass="6"/>
   <geom class="look" type="cylinder" size="0.05 0.02" pos="0 0.17 0.05" quat=".707 .707 0 0"
         rgba=".1 .1 .1 1"/>
   <geom class="look" type="cylinder" size="0.05 0.02" pos="0 -0.17 0.05" quat=".707 .707 0 0"
         rgba=".1 .1 .1 1"/>
   <body name="torso">
    <joint name="lift" type="slide" axis="0 0 1" range="0 0.38" damping="20" armature="5"/>
    <geom class="link" type="box" size="0.075 0.115 0.15" pos="0 0 0.69" mass="12"/>
    <geom class="link" type="box" size="0.045 0.065 0.17" pos="-0.05 0 0.39" mass="3"/>
    <body name="head_pan" pos="0 0 0.87">
     <joint name="head_pan" axis="0 0 1" range="-1.5 1.5" damping="0.3" armature="0.01"/>
     <geom class="link" type="cylinder" size="0.03 0.03" mass="0.4"/>
     <body name="head" pos="0 0 0.04">
      <joint name="head_tilt" axis="0 1 0" range="-0.6 1.1" damping="0.3" armature="0.01"/>
      <geom class="link" type="ellipsoid" size="0.075 0.09 0.07" pos="0 0 0.07" mass="1.6"
            rgba=".95 .95 .96 1"/>
      <geom class="look" type="ellipsoid" size="0.02 0.065 0.042" pos="0.062 0 0.07"
            rgba=".06 .07 .09 1"/>
      <camera name="head" pos="0.085 0 0.07" fovy="70" xyaxes="0 -1 0 0 0 1"/>
     </body>
    </body>
    <body name="shoulders" pos="0 0 {SHOULDER[2]}">{arms}</body>
   </body>
  </body>
 </body>
</worldbody>
<tendon>{"".join(hand_tendons(s) for s in sides)}</tendon>
<contact>{excludes}</contact>
<actuator>
 <position name="base_x" joint="base_x" kp="30000" dampratio="1" forcerange="-900 900"/>
 <position name="base_y" joint="base_y" kp="30000" dampratio="1" forcerange="-900 900"/>
 <position name="base_yaw" joint="base_yaw" kp="4000" dampratio="1" forcerange="-250 250"/>
 <position name="lift" joint="lift" kp="40000" dampratio="1" forcerange="-1200 1200"/>
 <position name="head_pan" joint="head_pan" kp="60" dampratio="1" forcerange="-10 10"/>
 <position name="head_tilt" joint="head_tilt" kp="60" dampratio="1" forcerange="-10 10"/>
 {arm_servos}{"".join(hand_actuators(s) for s in sides)}
</actuator>
<sensor>{"".join(hand_sensors(s) for s in sides)}</sensor>
</mujoco>"""
    return text.replace("<body ", '<body gravcomp="1" ')


def _arm_group(side: str) -> Group:
    """The seven joints of one arm, shoulder to wrist."""
    return Group(
        actuators=tuple(f"{side}_{joint[0]}" for joint in _ARM),
        names=tuple(f"{side}_{joint[0]}" for joint in _ARM),
        unit="rad",
        low=tuple(joint[4] for joint in _ARM),
        high=tuple(joint[5] for joint in _ARM),
        velocity=tuple(joint[6] for joint in _ARM),
        acceleration=15.0,
        torque=tuple(float(joint[2]) for joint in _ARM),
        home=tuple(joint[7] for joint in _ARM),
    )


def _hand_group(side: str) -> Group:
    """Five flexions, thumb first, and the thumb's opposition."""
    names = tuple(f"{side}_{name}" for name in (*FINGERS, "opposition"))
    return Group(
        actuators=names,
        names=names,
        unit="rad",
        low=(0.0,) * 5 + (-0.6,),
        high=(CLOSED,) * 5 + (1.6,),
        velocity=(2.5,) * 5 + (2.5,),
        acceleration=80.0,
        torque=(1.6,) * 5 + (3.0,),
        home=(0.0,) * 5 + (0.0,),
        hand=True,
    )


def _hand(side: str) -> Hand:
    return Hand(
        palm=f"{side}_palm",
        fingers=f"{side}_hand",
        arm=f"{side}_arm",
        touch=tuple(f"{side}_{finger}_touch" for finger in FINGERS),
        open=(0.0, 0.0, 0.0, 0.0, 0.0, -0.2),
        closed=(*(CLOSED,) * 5, -0.2),
        # The thumb first: with the fingers away it would push over what it held.
        releases=((0.0, *(CLOSED,) * 4, -0.2),),
        # The thumb points up aslant: it reaches over the front of a thing, and not beyond it.
        slim=(
            (0.0, 0.0, 0.0, 0.0, 0.0, _ASLANT),
            (*(CLOSED,) * 5, _ASLANT),
            (0.0, *(CLOSED,) * 4, _ASLANT),
        ),
        pocket=(0.030, 0.0, 0.018),
        thumb=(0.0, 1.0 if side == "left" else -1.0, 0.0),
        span=0.09,
        hook=(0.3, *(CLOSED,) * 4, 1.3),
        hook_open=(0.0, 0.0, 0.0, 0.0, 0.0, 1.3),
        bar=(0.012, 0.0, 0.026),
        point=(CLOSED, 0.0, CLOSED, CLOSED, CLOSED, 0.0),
        tip=(0.152, 0.033 if side == "left" else -0.033, 0.009),
        # The knuckles, and the back of the hand.
        faces=(((0.054, 0.0, 0.025), (1.0, 0.0, 0.0)), ((0.0, 0.0, -0.011), (0.0, 0.0, -1.0))),
        # The knuckles: the palm's own side lies deeper than the forearm beside it.
        flat=Flat(fingers=(0.3, *(CLOSED,) * 4, 1.3), face=((0.054, 0.0, 0.025), (1.0, 0.0, 0.0))),
        # Found by a sweep on a table: palm tilted by 15 degrees, the thumb under the middle finger,
        # fingers sent no further than where they meet, so that they do not roll what they hold.
        pinch=Pinch(
            open=(0.0, 0.4, 0.4, 0.4, 0.4, -0.4),
            closed=(0.6, 0.8, 0.8, 0.8, 0.8, -0.4),
            narrow=(0.0, 0.7, 0.7, 0.7, 0.7, -0.4),
            down=(sin(_PITCH), 0.0, cos(_PITCH)),
            across=(cos(_PITCH), 0.0, -sin(_PITCH)),
            at=(0.047, 0.0, 0.085),
            below=0.011,
            above=0.064,
            span=0.125,
        ),
        bounds=(-0.045, 0.144, 0.042),
        postures=(_ELBOW_OUT, _ELBOW_UP),
        far=_STRETCHED,
        wide=(_ELBOW_WIDE,),
        rest=(-0.95, 0.49, 1.31, 2.5, 0.87, 0.08, -0.9),
    )


CLOID_CLASS = Robot(
    name="cloid-class",
    mjcf=_mjcf(),
    root="robot",
    base="base",
    groups={
        "base": Group(
            actuators=("base_x", "base_y", "base_yaw"),
            names=("base_x", "base_y", "base_yaw"),
            unit="m,m,rad",
            low=(-3.0, -3.0, -3.14),
            high=(3.0, 3.0, 3.14),
            velocity=(0.5, 0.5, 1.0),
            acceleration=2.5,
            torque=(900.0, 900.0, 250.0),
            home=(0.0, 0.0, 0.0),
        ),
        "lift": Group(
            actuators=("lift",),
            names=("lift",),
            unit="m",
            low=(0.0,),
            high=(0.38,),
            velocity=(0.3,),
            acceleration=3.0,
            torque=(1200.0,),
            home=(0.38,),
        ),
        "head": Group(
            actuators=("head_pan", "head_tilt"),
            names=("head_pan", "head_tilt"),
            unit="rad",
            low=(-1.5, -0.6),
            high=(1.5, 1.1),
            velocity=(2.0, 2.0),
            acceleration=15.0,
            torque=(10.0, 10.0),
            home=(0.0, 0.6),
        ),
        "left_arm": _arm_group("left"),
        "right_arm": _arm_group("right"),
        "left_hand": _hand_group("left"),
        "right_hand": _hand_group("right"),
    },
    hands={"left": _hand("left"), "right": _hand("right")},
    cameras=("head", "left_wrist", "right_wrist"),
    depths=("head",),
    torso=("lift",),
    effort=0.4,
    neck=Neck(group="head", at=(0.0, 0.0, 0.91)),
    assumptions=(
        "Height range is made by a vertical lift of 0.38 m; the maker's waist tilts as well.",
        "The base moves in any planar direction; footprint radius 0.21 m, 38 kg.",
        "Link lengths (upper arm 0.33 m, forearm 0.31 m, wrist to palm 0.075 m) share 87 cm.",
        "Masses, joint ranges, speeds and torques are those of comparable service robots' arms.",
        "Arms, torso and head are gravity-compensated, as by a feed-forward in the servo.",
        "Each finger has one tendon over two joints; the thumb also has an opposition joint.",
        "Fingers latch when they stall: the servo holds 70 % of its force limit beyond contact.",
        "Touch is the normal force on each fingertip; no shear, no tactile picture.",
        "Cameras: head 70 degrees, wrists 75 degrees vertical field of view.",
    ),
)
"""A robot of LG CLOiD's class; dimensions from public sources, masses and sensors assumed."""
