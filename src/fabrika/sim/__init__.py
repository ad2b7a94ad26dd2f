"""MuJoCo worlds: robots, scenes, sensors, cameras, kinematics."""

from fabrika.sim._aloha import aloha
from fabrika.sim._catalogue import CATALOGUE, Instance, categories, draw_thing
from fabrika.sim._cloid import CLOID_CLASS
from fabrika.sim._fixtures import FIXTURES, build_fixture, draw_fixture, fixture
from fabrika.sim._joinery import Fixture, Part, Space, Spot
from fabrika.sim._kinematics import Kinematics
from fabrika.sim._kitchen import kitchen, kitchen_materials, sample_look
from fabrika.sim._pictures import visual
from fabrika.sim._playback import Playback, Solid, require_simulated
from fabrika.sim._robot import Group, Hand, Neck, Pinch, Robot
from fabrika.sim._scene import Place, arrange, footprint, places, put_on, reach_of, scene
from fabrika.sim._skills import Limbs, body_in_base
from fabrika.sim._things import THINGS, thing
from fabrika.sim._world import SimWorld, Stage

__all__ = [
    "CATALOGUE",
    "CLOID_CLASS",
    "FIXTURES",
    "THINGS",
    "Fixture",
    "Group",
    "Hand",
    "Instance",
    "Kinematics",
    "Limbs",
    "Neck",
    "Part",
    "Pinch",
    "Place",
    "Playback",
    "Robot",
    "SimWorld",
    "Solid",
    "Space",
    "Spot",
    "Stage",
    "aloha",
    "arrange",
    "body_in_base",
    "build_fixture",
    "categories",
    "draw_fixture",
    "draw_thing",
    "fixture",
    "footprint",
    "kitchen",
    "kitchen_materials",
    "places",
    "put_on",
    "reach_of",
    "require_simulated",
    "sample_look",
    "scene",
    "thing",
    "visual",
]
