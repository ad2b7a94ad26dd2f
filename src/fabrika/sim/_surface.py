"""Where things may be set down: flat surfaces, what walls stand around, and lying drums."""

from __future__ import annotations

from dataclasses import dataclass

from fabrika.sim._model import Frame

LOW = 0.30
"""Free height below which a hand from above leaves flat, its fingers straight [m]."""
DROPS = (0.0, 0.02, 0.05, 0.10, 0.16, 0.24)
"""How far a thing may be let fall between walls [m]."""
DROPS_LOW = (0.0, 0.012, 0.024)
"""How far a thing may be let fall over a low rim [m]."""
DROPS_IN = (0.02, 0.05, 0.08, 0.11)
"""How far a thing may be let fall into a drum, whose sides slope [m]."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Where a thing may be set down."""

    frame: Frame
    """Its middle; x towards the robot."""
    half: tuple[float, float]
    """Half of its extent along x and y [m]."""
    body: str
    """What bears the thing."""
    facing: float
    """Yaw of a base that faces it [rad]."""
    edge: float
    """How far its middle is from the edge that the robot reaches over [m]."""
    walls: bool = False
    """Whether walls stand around it: the thing may be let fall over them, upright or not."""
    well: bool = False
    """Whether those walls are a low rim only: a thing is let fall a little, if at all."""
    hollow: bool = False
    """Whether it is the bottom of a lying drum: a thing is let fall into it, the back first."""
    room: float = 1.0
    """How high above it is free [m]."""

    @property
    def above(self) -> float:
        """From how high over it a thing is brought down [m]."""
        if self.low:
            return 0.025
        return 0.15 if self.walls else 0.02 if self.hollow else 0.06

    @property
    def drops(self) -> tuple[float, ...]:
        """How far a thing may fall onto it [m]."""
        if self.well:
            return DROPS_LOW
        return DROPS if self.walls else DROPS_IN if self.hollow else (0.0,)

    @property
    def low(self) -> bool:
        """Whether a hand that comes from above has no room to leave upwards."""
        return not self.walls and not self.hollow and self.room < LOW
