"""A five-finger hand: one tendon a finger, an opposable thumb, fingertip touch.

Palm frame: x distal, z along the palm's normal, y across; the thumb is on the side of
``side`` * y. Closure of a finger [rad] is the weighted mean of its two joint angles, so 0 is
straight and 1.6 fully curled; the last link is one piece with the middle one, and bent a little.
The mechanics (stiff servo on a tendon, small force limit, weak joint springs that share the
flexion) let a finger wrap around what it meets.
"""

from __future__ import annotations

from math import cos, sin

FINGERS = ("thumb", "index", "middle", "ring", "little")
"""Order of the touch sensors, and of the first five entries of a hand's action."""

CLOSED = 1.6
"""Closure of a fully curled finger [rad]."""

_COUPLING = (0.58, 0.42)
_SPRING = 0.06  # [Nm/rad] of the first joint
_BEND = 0.3
"""Angle between the middle and the last link [rad]: one piece, as in most hands of this class."""
_LINKS = {  # [m]
    "index": (0.045, 0.030, 0.024),
    "middle": (0.048, 0.033, 0.025),
    "ring": (0.045, 0.030, 0.024),
    "little": (0.038, 0.026, 0.022),
    "thumb": (0.046, 0.036, 0.028),
}
_ACROSS = {"index": 0.033, "middle": 0.011, "ring": -0.011, "little": -0.033}  # [m]


def _chain(hand: str, finger: str, side: int, bit: int) -> str:
    """Nested bodies of one finger: two hinged links along x, the second with a bent tip."""
    thumb = finger == "thumb"
    radius = 0.010 if thumb else 0.009
    touched = 1 | 2 | 32 | (4 | 8 if thumb else 12 - bit)
    own = 16 if thumb else bit
    mask = f'contype="{own}" conaffinity="{touched}"'
    text, closing = "", ""
    lengths = _LINKS[finger]
    for link, coupling in enumerate(_COUPLING):
        name = f"{hand}_{finger}_{link + 1}"
        spring = _SPRING * coupling / _COUPLING[0]
        if link:
            text += f'<body name="{name}" pos="{lengths[link - 1]} 0 0">'
            closing += "</body>"
        text += (
            f'<joint name="{name}" class="finger" stiffness="{spring:.4f}"/>'
            f'<geom name="{name}" class="skin" {mask} type="capsule" size="{radius}" '
            f'fromto="0 0 0 {lengths[link]} 0 0" mass="0.015"/>'
        )
    x = lengths[1] + lengths[2] * cos(_BEND)
    z = lengths[2] * sin(_BEND)
    text += (
        f'<geom name="{hand}_{finger}_3" class="skin" {mask} type="capsule" size="{radius}" '
        f'fromto="{lengths[1]} 0 0 {x:.5f} 0 {z:.5f}" mass="0.015"/>'
        f'<site name="{hand}_{finger}_tip" pos="{x:.5f} 0 {z:.5f}" type="sphere" '
        f'size="{radius + 0.004}" class="touch"/>'
    )
    return text + closing


def hand_bodies(hand: str, side: int) -> str:
    """Children of the palm body: geoms of the palm and the five fingers. ``side``: thumb on +-y."""
    bit = 4 if side > 0 else 8
    palm = 'class="skin" contype="2" conaffinity="3"'
    text = (
        f'<geom name="{hand}_palm" {palm} type="box" size="0.045 0.042 0.011" mass="0.35"/>'
        f'<geom name="{hand}_ridge_distal" {palm} type="capsule" size="0.010" '
        'fromto="0.036 -0.032 0.008 0.036 0.032 0.008" mass="0.02"/>'
        f'<geom name="{hand}_ridge_heel" {palm} type="capsule" size="0.010" '
        'fromto="-0.034 -0.032 0.008 -0.034 0.032 0.008" mass="0.02"/>'
    )
    for finger, across in _ACROSS.items():
        text += (
            f'<body name="{hand}_{finger}_1" pos="0.045 {across * side} 0.002">'
            f"{_chain(hand, finger, side, bit)}</body>"
        )
    # The thumb points along the palm's normal, tilted back by 0.15 rad, and flexes distally:
    # its x axis is (-sin 0.15, 0, cos 0.15), its y axis turned so that the hinge closes it.
    text += (
        f'<body name="{hand}_thumb_0" pos="-0.022 {0.026 * side} 0.004">'
        f'<joint name="{hand}_thumb_0" type="hinge" axis="{-side} 0 0" range="-0.6 1.6" '
        'armature="0.001" damping="0.05"/>'
        '<inertial pos="0 0 0" mass="0.03" diaginertia="1e-5 1e-5 1e-5"/>'
        f'<body name="{hand}_thumb_1" xyaxes="-0.1494 0 0.9888 0 -1 0">'
        f"{_chain(hand, 'thumb', side, bit)}</body></body>"
    )
    return text


def hand_tendons(hand: str) -> str:
    """One fixed tendon a finger."""
    text = ""
    for finger in FINGERS:
        joints = "".join(
            f'<joint joint="{hand}_{finger}_{link + 1}" coef="{coef}"/>'
            for link, coef in enumerate(_COUPLING)
        )
        text += f'<fixed name="{hand}_{finger}">{joints}</fixed>'
    return text


def hand_actuators(hand: str) -> str:
    """Position servos: five flexions (thumb first), then the thumb's opposition."""
    text = "".join(
        f'<position name="{hand}_{finger}" tendon="{hand}_{finger}" kp="30" kv="0.4" '
        f'ctrlrange="0 {CLOSED}" forcerange="-1.6 1.6"/>'
        for finger in FINGERS
    )
    return text + (
        f'<position name="{hand}_opposition" joint="{hand}_thumb_0" kp="10" kv="0.3" '
        'ctrlrange="-0.6 1.6" forcerange="-3 3"/>'
    )


def hand_sensors(hand: str) -> str:
    """Normal force on each fingertip [N]."""
    return "".join(f'<touch name="{hand}_{f}_touch" site="{hand}_{f}_tip"/>' for f in FINGERS)


def hand_excludes(hand: str) -> str:
    """Neighbours that always touch: the palm and its own fingers."""
    pairs = [(f"{hand}_palm", f"{hand}_{f}_{link}") for f in FINGERS for link in (1, 2)]
    pairs += [(f"{hand}_thumb_1", f"{hand}_{f}_1") for f in ("index", "middle")]
    return "".join(f'<exclude body1="{a}" body2="{b}"/>' for a, b in pairs)
