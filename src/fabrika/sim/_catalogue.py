"""Household things with the sizes, masses and friction that real ones have.

An *instance* is one thing that could be bought; a *category* is what a person would call it.
Masses include contents. Friction is that of the thing's skin on wood or laminate; what a hand
feels is the hand's own (see ``docs/simulation.md``). Sizes and masses are those that such goods
commonly have, by estimate and rounded: no single product was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fabrika._errors import UnknownNameError

SIZE_SPREAD, MASS_SPREAD = 0.04, 0.15
"""How far one piece of an instance may differ from another: of all its sizes, of its mass."""
_MADE_TO_SIZE = {"peg": 0.0, "socket": 0.0, "needle": 0.0, "eye": 0.0}
"""Shapes whose sizes differ by less: what is to fit is made to fit."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One thing of the catalogue."""

    category: str
    shape: str
    """One of ``SHAPES``."""
    mass: float
    """[kg]."""
    friction: float
    sizes: Mapping[str, float]
    """What its shape asks for [m]."""


def _of(category: str, shape: str, **things: tuple[float, float, dict[str, float]]) -> Any:
    for name, (mass, friction, sizes) in things.items():
        yield name, Instance(category, shape, mass, friction, MappingProxyType(sizes))


def _round(mass: float, friction: float, radius: float, height: float, **more: float) -> Any:
    return mass, friction, {"radius": radius, "height": height, **more}


def _box(
    mass: float, friction: float, depth: float, width: float, height: float, **more: float
) -> Any:
    return mass, friction, {"depth": depth, "width": width, "height": height, **more}


def _long(mass: float, friction: float, **sizes: float) -> Any:
    return mass, friction, sizes


def _all() -> Iterator[tuple[str, Instance]]:
    r, b, n = _round, _box, _long
    yield from _of(
        "mug",
        "mug",
        mug_white=r(0.33, 0.5, 0.040, 0.095),
        mug_large=r(0.40, 0.5, 0.043, 0.105),
        mug_small=r(0.25, 0.5, 0.037, 0.085),
        mug_camping=r(0.22, 0.45, 0.041, 0.088),
    )
    yield from _of(
        "cup",
        "cup",
        cup_plastic=r(0.06, 0.45, 0.038, 0.10),
        cup_paper=r(0.05, 0.5, 0.037, 0.095),
        cup_measuring=r(0.12, 0.45, 0.042, 0.09),
    )
    yield from _of(
        "glass",
        "cylinder",
        glass_water=r(0.26, 0.4, 0.034, 0.11),
        glass_tumbler=r(0.30, 0.4, 0.038, 0.09),
        glass_long=r(0.28, 0.4, 0.031, 0.14),
        glass_juice=r(0.24, 0.4, 0.030, 0.125),
    )
    yield from _of(
        "bottle",
        "bottle",
        bottle_water=r(0.53, 0.4, 0.033, 0.21),
        bottle_oil=r(0.75, 0.4, 0.036, 0.26),
        bottle_ketchup=r(0.50, 0.45, 0.034, 0.20),
        bottle_vinegar=r(0.60, 0.4, 0.032, 0.24),
    )
    yield from _of(
        "can",
        "cylinder",
        can_soup=r(0.45, 0.4, 0.037, 0.11),
        can_soda=r(0.35, 0.4, 0.033, 0.115),
        can_beans=r(0.48, 0.4, 0.0375, 0.108),
        can_tomato=r(0.44, 0.4, 0.0365, 0.105),
    )
    yield from _of(
        "carton",
        "box",
        carton_milk=b(1.04, 0.45, 0.071, 0.071, 0.20),
        carton_oat=b(1.04, 0.45, 0.070, 0.070, 0.205),
        carton_soy=b(1.05, 0.45, 0.068, 0.073, 0.197),
        carton_juice=b(1.05, 0.45, 0.065, 0.075, 0.195),
        carton_cream=b(0.22, 0.45, 0.055, 0.055, 0.10),
    )
    yield from _of(
        "packet",
        "box",
        packet_cereal=b(0.45, 0.5, 0.060, 0.18, 0.25),
        packet_tea=b(0.09, 0.5, 0.065, 0.13, 0.075),
        packet_pasta=b(0.52, 0.5, 0.050, 0.10, 0.19),
        packet_crackers=b(0.20, 0.5, 0.055, 0.12, 0.16),
    )
    yield from _of(
        "parcel",
        "box",
        parcel_small=b(0.50, 0.5, 0.18, 0.20, 0.16),
        parcel_shoes=b(0.70, 0.5, 0.20, 0.24, 0.18),
        parcel_gift=b(0.60, 0.5, 0.20, 0.20, 0.20),
        parcel_tall=b(1.30, 0.5, 0.22, 0.28, 0.24),
        parcel_moving=b(1.60, 0.5, 0.28, 0.36, 0.22),
        parcel_books=b(2.20, 0.5, 0.26, 0.32, 0.20),
    )
    yield from _of(
        "jar",
        "cylinder",
        jar_jam=r(0.55, 0.4, 0.036, 0.105),
        jar_honey=r(0.68, 0.4, 0.038, 0.10),
        jar_pickles=r(0.62, 0.4, 0.0385, 0.12),
    )
    yield from _of(
        "pod",
        "cylinder",
        pod_coffee=r(0.016, 0.4, 0.030, 0.044),
        pod_cocoa=r(0.019, 0.4, 0.028, 0.046),
        pod_tea=r(0.012, 0.4, 0.026, 0.045),
    )
    yield from _of(
        "bowl",
        "bowl",
        bowl_cereal=r(0.35, 0.5, 0.072, 0.060),
        bowl_small=r(0.22, 0.5, 0.058, 0.050),
        bowl_soup=r(0.42, 0.5, 0.080, 0.062),
    )
    yield from _of(
        "plate",
        "plate",
        plate_dinner=r(0.62, 0.5, 0.125, 0.028),
        plate_dessert=r(0.38, 0.5, 0.098, 0.026),
        plate_plastic=r(0.16, 0.45, 0.110, 0.027),
    )
    yield from _of(
        "fruit",
        "ball",
        apple=n(0.18, 0.5, radius=0.038),
        orange=n(0.20, 0.5, radius=0.039),
        lemon=n(0.11, 0.5, radius=0.029),
        peach=n(0.15, 0.5, radius=0.035),
    )
    yield from _of(
        "vegetable",
        "lying",
        cucumber=n(0.38, 0.5, radius=0.024, length=0.24),
        carrot=n(0.11, 0.5, radius=0.016, length=0.17),
        courgette=n(0.28, 0.5, radius=0.023, length=0.20),
        banana=n(0.14, 0.5, radius=0.018, length=0.18),
    )
    yield from _of(
        "bread",
        "lying",
        croissant=n(0.07, 0.6, radius=0.028, length=0.14),
        croissant_small=n(0.05, 0.6, radius=0.025, length=0.12),
        croissant_nut=n(0.09, 0.6, radius=0.031, length=0.13),
        baguette_half=n(0.13, 0.6, radius=0.032, length=0.26),
        roll=n(0.07, 0.6, radius=0.032, length=0.11),
    )
    yield from _of(
        "cutlery",
        "cutlery",
        spoon=n(0.055, 0.4, length=0.20, width=0.040, height=0.012),
        fork=n(0.050, 0.4, length=0.20, width=0.026, height=0.012),
        spatula=n(0.075, 0.5, length=0.28, width=0.075, height=0.016),
    )
    yield from _of(
        "nut",
        "grain",
        hazelnut=n(0.0035, 0.4, radius=0.0100),
        macadamia=n(0.0070, 0.4, radius=0.0125),
        walnut=n(0.0110, 0.4, radius=0.0160),
    )
    yield from _of(
        "pot",
        "pot",
        pot_small=r(0.75, 0.4, 0.080, 0.085, handle=0.16),
        pot_milk=r(0.60, 0.4, 0.070, 0.080, handle=0.15),
        pot_sauce=r(0.55, 0.4, 0.068, 0.075, handle=0.14),
        pan_small=r(0.80, 0.4, 0.100, 0.045, handle=0.17),
    )
    yield from _of(
        "container",
        "crate",
        box_lunch=b(0.25, 0.45, 0.13, 0.18, 0.065, wall=0.004),
        box_storage=b(0.60, 0.45, 0.22, 0.30, 0.12, wall=0.006),
        box_toys=b(0.45, 0.5, 0.22, 0.28, 0.14, wall=0.008),
        box_bread=b(0.90, 0.5, 0.20, 0.32, 0.10, wall=0.008),
    )
    yield from _of(
        "basket",
        "crate",
        basket_small=b(0.45, 0.5, 0.22, 0.28, 0.14, wall=0.008),
        basket_laundry=b(1.10, 0.5, 0.34, 0.46, 0.26, wall=0.010),
    )
    yield from _of(
        "cleaner",
        "bottle",
        soap_dish=r(0.55, 0.4, 0.033, 0.20),
        spray_glass=r(0.62, 0.4, 0.036, 0.24),
        shampoo=r(0.30, 0.4, 0.030, 0.18),
        shampoo_baby=r(0.26, 0.4, 0.029, 0.17),
    )
    yield from _of(
        "sponge",
        "box",
        sponge=b(0.015, 0.7, 0.065, 0.095, 0.030),
        sponge_large=b(0.030, 0.7, 0.080, 0.120, 0.040),
        soap_bar=b(0.11, 0.4, 0.055, 0.085, 0.030),
    )
    # Rolled up tightly and tied: as stiff as a box, as heavy and rough as what is in it.
    yield from _of(
        "bundle",
        "box",
        bundle_towel=b(0.20, 0.7, 0.070, 0.085, 0.110),
        bundle_shirts=b(0.26, 0.7, 0.075, 0.090, 0.100),
        bundle_socks=b(0.12, 0.7, 0.065, 0.075, 0.090),
    )
    yield from _of(
        "toy",
        "box",
        block_wood=b(0.09, 0.5, 0.045, 0.045, 0.045),
        block_brick=b(0.12, 0.5, 0.045, 0.065, 0.045),
        block_long=b(0.16, 0.5, 0.045, 0.090, 0.045),
        toy_car=b(0.12, 0.5, 0.055, 0.110, 0.045),
        cube_puzzle=b(0.10, 0.45, 0.057, 0.057, 0.057),
    )
    yield from _of(
        "figure",
        "box",
        figure_bear=b(0.16, 0.7, 0.070, 0.095, 0.20),
        figure_robot=b(0.20, 0.45, 0.060, 0.090, 0.18),
        figure_knight=b(0.14, 0.5, 0.050, 0.070, 0.17),
        figure_dinosaur=b(0.18, 0.5, 0.060, 0.105, 0.165),
    )
    yield from _of(
        "toy_ball",
        "ball",
        ball_tennis=n(0.058, 0.6, radius=0.0335),
        ball_rubber=n(0.11, 0.7, radius=0.036),
    )
    yield from _of(
        "book",
        "box",
        book_pocket=b(0.22, 0.45, 0.115, 0.180, 0.022),
        book_novel=b(0.38, 0.45, 0.135, 0.210, 0.030),
        notebook=b(0.18, 0.45, 0.130, 0.180, 0.018),
    )
    yield from _of(
        "remote",
        "box",
        remote_tv=b(0.12, 0.5, 0.045, 0.180, 0.022),
        remote_small=b(0.07, 0.5, 0.040, 0.120, 0.018),
    )
    yield from _of(
        "shoe",
        "shoe",
        slipper=n(0.20, 0.6, length=0.26, width=0.095, height=0.070),
        sneaker=n(0.34, 0.7, length=0.28, width=0.100, height=0.095),
        shoe_child=n(0.16, 0.7, length=0.18, width=0.070, height=0.070),
    )
    yield from _of(
        "keys",
        "keys",
        keys_house=n(0.075, 0.4, radius=0.018, length=0.055, fob=0.016),
        keys_car=n(0.095, 0.4, radius=0.016, length=0.060, fob=0.020),
    )
    yield from _of(
        "towel",
        "towel",
        towel_guest=b(0.16, 0.8, 0.095, 0.150, 0.035),
        towel_hand=b(0.28, 0.8, 0.100, 0.190, 0.045),
        towel_kitchen=b(0.20, 0.8, 0.090, 0.165, 0.040),
    )
    # Folded to a thick pad, as one wipes with it; held by its upper half.
    yield from _of(
        "cloth",
        "pad",
        cloth_dish=b(0.06, 0.7, 0.085, 0.120, 0.038),
        cloth_floor=b(0.11, 0.8, 0.095, 0.140, 0.045),
        cloth_micro=b(0.05, 0.6, 0.080, 0.110, 0.041),
    )
    yield from _of(
        "tray",
        "tray",
        tray_serving=n(1.2, 0.45, depth=0.30, width=0.44, bar=0.007),
        tray_breakfast=n(1.5, 0.45, depth=0.32, width=0.46, bar=0.008),
    )
    # A shank of 28 mm goes into a hole of 30.5 mm.
    shank = {"shank": 0.014, "length": 0.032}
    yield from _of(
        "peg",
        "peg",
        peg_short=b(0.10, 0.45, 0.040, 0.040, 0.080, **shank),
        peg_long=b(0.12, 0.45, 0.040, 0.040, 0.095, **shank),
        peg_slim=b(0.09, 0.45, 0.036, 0.036, 0.086, **shank),
        peg_flat=b(0.11, 0.45, 0.036, 0.046, 0.083, **shank),
    )
    hole = {"hole": 0.01525, "sunk": 0.034}
    yield from _of(
        "socket",
        "socket",
        socket_block=b(0.60, 0.6, 0.090, 0.090, 0.042, **hole),
        socket_plate=b(0.75, 0.6, 0.110, 0.110, 0.040, **hole),
        socket_bar=b(0.65, 0.6, 0.080, 0.120, 0.042, **hole),
    )
    # A rod of 8 mm goes through a window of 14 mm.
    yield from _of(
        "needle",
        "needle",
        needle_short=n(
            0.07, 0.5, length=0.140, handle=0.060, width=0.028, height=0.042, radius=0.004
        ),
        needle_long=n(
            0.09, 0.5, length=0.155, handle=0.065, width=0.030, height=0.045, radius=0.004
        ),
        needle_slim=n(
            0.06, 0.5, length=0.150, handle=0.060, width=0.025, height=0.041, radius=0.004
        ),
    )
    yield from _of(
        "eye",
        "eye",
        eye_low=b(0.60, 0.6, 0.090, 0.090, 0.101, hole=0.007, level=0.086, rim=0.008),
        eye_high=b(0.65, 0.6, 0.090, 0.090, 0.115, hole=0.007, level=0.100, rim=0.008),
    )


CATALOGUE: Mapping[str, Instance] = MappingProxyType(dict(_all()))
"""Every instance, by name."""


def categories() -> dict[str, tuple[str, ...]]:
    """The instances of each category."""
    found: dict[str, list[str]] = {}
    for name, instance in CATALOGUE.items():
        found.setdefault(instance.category, []).append(name)
    return {category: tuple(names) for category, names in sorted(found.items())}


def draw_thing(rng: np.random.Generator, instance: str) -> dict[str, Any]:
    """Params of one piece of an instance: its sizes, mass, friction and colour, without a place.

    All sizes are scaled together, so that proportions stay. Raises `UnknownNameError`.
    """
    if instance not in CATALOGUE:
        raise UnknownNameError("thing", instance, CATALOGUE)
    found = CATALOGUE[instance]
    spread = _MADE_TO_SIZE.get(found.shape, SIZE_SPREAD)
    scale = float(rng.uniform(1 - spread, 1 + spread))
    heavy = float(rng.uniform(1 - MASS_SPREAD, 1 + MASS_SPREAD))
    rubs = float(rng.uniform(0.85, 1.15))
    return {
        "kind": found.shape,
        "instance": instance,
        "mass": round(found.mass * heavy, 4),
        "friction": round(found.friction * rubs, 4),
        "rgba": [*(round(float(c), 3) for c in rng.uniform(0.1, 0.95, 3)), 1.0],
        **{name: round(size * scale, 5) for name, size in found.sizes.items()},
    }
