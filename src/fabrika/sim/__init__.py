"""MuJoCo worlds: robots, scenes, sensors, cameras, kinematics."""

from fabrika.sim._catalogue import CATALOGUE, Instance, categories, draw_thing
from fabrika.sim._cloid import CLOID_CLASS
from fabrika.sim._kinematics import Kinematics
from fabrika.sim._kitchen import kitchen, kitchen_materials, sample_look
from fabrika.sim._pictures import visual
from fabrika.sim._robot import Group, Hand, Robot
from fabrika.sim._skills import Limbs, body_in_base
from fabrika.sim._things import THINGS, thing
from fabrika.sim._world import SimWorld, Stage

__all__ = [
    "CATALOGUE",
    "CLOID_CLASS",
    "THINGS",
    "Group",
    "Hand",
    "Instance",
    "Kinematics",
    "Limbs",
    "Robot",
    "SimWorld",
    "Stage",
    "body_in_base",
    "categories",
    "draw_thing",
    "kitchen",
    "kitchen_materials",
    "sample_look",
    "thing",
    "visual",
]
