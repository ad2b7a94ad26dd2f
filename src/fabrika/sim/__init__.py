"""MuJoCo worlds: robots, scenes, sensors, cameras, kinematics."""

from fabrika.sim._cloid import CLOID_CLASS
from fabrika.sim._kinematics import Kinematics
from fabrika.sim._kitchen import kitchen, kitchen_materials, sample_look
from fabrika.sim._pictures import visual
from fabrika.sim._robot import Group, Hand, Robot
from fabrika.sim._skills import Limbs, body_in_base
from fabrika.sim._things import THINGS, thing
from fabrika.sim._world import SimWorld, Stage

__all__ = [
    "CLOID_CLASS",
    "THINGS",
    "Group",
    "Hand",
    "Kinematics",
    "Limbs",
    "Robot",
    "SimWorld",
    "Stage",
    "body_in_base",
    "kitchen",
    "kitchen_materials",
    "sample_look",
    "thing",
    "visual",
]
