"""The policy: chunks of commands, regressed by a residual network. One algorithm, one file.

From the newest readings (and a few older ones) it predicts the next commands, ``chunk`` ticks
of them, in one pass. A scripted expert is smooth and, given what it sees, nearly of one mind;
then regression learns several times faster on a CPU than flow matching, which must also learn
its noise away (``docs/learning.md`` has the table, ``benchmarks/policy_choice.py`` makes it).

- Commands are predicted relative to the last command, or to the measured joint, where an act
  "arm" has a sensor "joint/arm", and scaled for each tick and joint.
- A joint that never moved in the data is commanded exactly the same for ever.
- With cameras it first makes out what a tracker would have told ("guides" of the card): the
  data has it, the policy that ships is not given it. From there on it is the policy of trackers.
- Between palms ("hand/*") and what is tracked ("tracker/*") the difference is computed first,
  in the robot's frame and in the palm's: a grasp is decided by millimetres there.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import pi, prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from fabrika.learn._card import Card, Shape, columns

CLIP = 5.0
"""Readings farther than this from what was learned are drawn back [standard deviations]."""
NEAR = 0.1
"""Distance within which millimetres count [m]: a robot that drives sees things metres away too."""
WAVE = 0.5
"""Length of the waves in which trackers' places are told as well [m]: where the base has to stop
is a matter of centimetres at any distance."""
POSE: Shape = (9,)
"""xyz [m], then the first two columns of the rotation matrix (rot6d), in the robot's frame."""


class Senses(nn.Module):
    """Adds what lies between bodies to the raw readings.

    For each palm and each other body, with the palm's axes as columns of R: the difference d
    [m], R'd [m], and R' times the first two axes of the other body. For each two tracked
    bodies: d. R'd, and d of tracked bodies, once more as tanh(d / NEAR): measured by how far it
    varies, a centimetre is nothing to a robot that comes from across the room. For the same reason
    the place p of what is tracked, once more as sin and cos of 2 pi p / WAVE. Only signals of shape
    (9,) are bodies.
    """

    target: Tensor
    origin: Tensor
    palm: Tensor
    other: Tensor
    places: Tensor

    def __init__(self, given: Mapping[str, Shape], guides: Mapping[str, Shape]) -> None:
        super().__init__()
        at = {name: part.start for name, part in columns(given).items()}
        at |= {name: size(given) + part.start for name, part in columns(guides).items()}
        reads = {**given, **guides}
        hands = [n for n in sorted(reads) if n.startswith("hand/") and reads[n] == POSE]
        tracked = [n for n in sorted(reads) if n.startswith("tracker/") and reads[n] == POSE]
        pairs = [(h, b) for i, h in enumerate(hands) for b in (*hands[i + 1 :], *tracked)]
        self.palms = len(pairs)
        both = [*pairs, *combinations(tracked, 2)]

        def index(starts: list[int], count: int) -> Tensor:
            return torch.tensor([[s + k for k in range(count)] for s in starts], dtype=torch.long)

        self.register_buffer("target", index([at[b] for _, b in both], 3), persistent=False)
        self.register_buffer("origin", index([at[a] for a, _ in both], 3), persistent=False)
        self.register_buffer("palm", index([at[a] + 3 for a, _ in pairs], 6), persistent=False)
        self.register_buffer("places", index([at[b] for b in tracked], 3), persistent=False)
        self.register_buffer("other", index([at[b] + 3 for _, b in pairs], 6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) raw readings -> (..., F) readings and what lies between."""
        if not len(self.target):
            return x
        d = x[..., self.target] - x[..., self.origin]
        near, turned = [d[..., self.palms :, :].flatten(-2)], list[Tensor]()
        if self.palms:
            first, second = x[..., self.palm[:, :3]], x[..., self.palm[:, 3:]]
            third = torch.linalg.cross(first, second)
            seen = (d[..., : self.palms, :], x[..., self.other[:, :3]], x[..., self.other[:, 3:]])
            turned = [(axis * v).sum(-1) for v in seen for axis in (first, second, third)]
            near += turned[:3]
        turns = x[..., self.places.flatten()] * (2 * pi / WAVE)
        more = torch.tanh(torch.cat(near, -1) / NEAR), turns.sin(), turns.cos()
        return torch.cat([x, d.flatten(-2), *more, *turned], -1)


class Sight(nn.Module):
    """A small convolutional encoder that says where things are in one camera's picture.

    The last map of each channel becomes, by softmax, the place where it is brightest
    (x and y from -1 to 1) and its peak value.
    """

    CHANNELS = (16, 32, 48, 48)

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, *self.CHANNELS)
        strides, kernels = (2, 2, 2, 1), (5, 3, 3, 3)
        self.convs = nn.ModuleList(
            nn.Conv2d(sizes[i], sizes[i + 1], kernels[i], strides[i], kernels[i] // 2)
            for i in range(len(strides))
        )
        self.sharpness = nn.Parameter(torch.ones(self.CHANNELS[-1], 1))

    @property
    def features(self) -> int:
        """Length of what `forward` gives."""
        return 3 * self.CHANNELS[-1]

    def forward(self, picture: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, features)."""
        x = picture.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        for conv in self.convs[:-1]:
            x = functional.relu(conv(x))
        x = self.convs[-1](x)
        height, width = x.shape[-2:]
        flat = x.flatten(2)
        weight = torch.softmax(flat * self.sharpness, -1)
        return torch.cat([weight @ grid(height, width), (weight * flat).sum(-1, True)], -1).flatten(
            1
        )


def grid(height: int, width: int) -> Tensor:
    """(height * width, 2) the x and y of every place of a picture, from -1 to 1."""
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], 1)


class Block(nn.Module):
    """A residual layer that starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        out: Tensor = x + self.down(functional.silu(self.up(self.norm(x))))
        return out


class Policy(nn.Module):
    """Readings, pictures and words in; a chunk of commands out. Normalisers are inside."""

    mean: Tensor
    gain: Tensor
    offset: Tensor
    scale: Tensor
    relative: Tensor
    joint: Tensor
    place: Tensor
    reach: Tensor

    def __init__(self, card: Card, width: int, depth: int) -> None:
        super().__init__()
        self.card, self.depth = card, depth
        where, parts = columns(card.reads), columns(card.acts)
        acts, guides = size(card.acts), size(card.guides)
        self.given = size(card.reads)
        self.senses = Senses(card.reads, card.guides)
        found = self.senses(torch.zeros(1, self.given + guides)).shape[-1]
        joint, relative = torch.zeros(acts, dtype=torch.long), torch.zeros(acts)
        for name, part in parts.items():
            for source in (f"last/{name}", f"joint/{name}"):
                if card.reads.get(source) == card.acts[name]:
                    joint[part] = torch.arange(where[source].start, where[source].stop)
                    relative[part] = 1.0
                    break
        self.register_buffer("joint", joint)
        self.register_buffer("relative", relative)
        self.register_buffer("mean", torch.zeros(found))
        self.register_buffer("gain", torch.ones(found))
        self.register_buffer("offset", torch.zeros(card.chunk, acts))
        self.register_buffer("scale", torch.ones(card.chunk, acts))
        self.sights = nn.ModuleList(Sight() for _ in card.pictures)
        seen = sum(sight.features for sight in self.sights if isinstance(sight, Sight))
        self.locate = nn.Sequential()
        if guides:
            layers = nn.Linear(self.given + seen, width), nn.SiLU(), nn.Linear(width, guides)
            self.locate = nn.Sequential(*layers)
        self.register_buffer("place", torch.zeros(guides))
        self.register_buffer("reach", torch.ones(guides))
        self.enter = nn.Linear(found * len(card.lags) + seen + card.words, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, card.chunk * acts)

    def normalise(self, seen: Tensor, done: Tensor, *, relative: bool = True) -> None:
        """Set the normalisers from training data: readings (N, D + G), chunks (N, chunk, A)."""
        found = self.senses(seen)
        self.mean.copy_(found.mean(0))
        self.gain.copy_(_inverse(spread(found)))
        if self.card.guides:
            self.place.copy_(seen[:, self.given :].mean(0))
            self.reach.copy_(spread(seen[:, self.given :]))
        moves = (done.amax((0, 1)) - done.amin((0, 1))) > 1e-6
        self.relative.mul_(moves & relative)
        change = done - self._base(seen)
        scale = spread(change)
        # The first ticks hardly differ from the joint: unscaled, their noise would be learned.
        scale = torch.maximum(scale, 0.3 * scale.amax(0))
        self.offset.copy_(torch.where(moves, change.mean(0), done[0]))
        self.scale.copy_(torch.where(moves, scale, 0.0))

    def forward(self, seen: Tensor, pictures: Mapping[str, Tensor], told: Tensor) -> Tensor:
        """(B, chunk, A) commands, from (B, lags, D), {camera: (B, H, W, 3)} and (B, words)."""
        seen, views, _ = self._look(seen[..., : self.given], pictures)
        out = self._network(seen, views, told) * self.scale + self.offset
        return out + self._base(seen[:, 0])

    def loss(
        self, seen: Tensor, pictures: Mapping[str, Tensor], told: Tensor, done: Tensor
    ) -> Tensor:
        """Mean smoothed absolute error, in units of each moving joint's spread.

        ``seen`` (B, lags, D + G): with guides, the error of what is made out of them is added.
        """
        moving = (self.scale[0] > 0).float()
        goal = (done - self._base(seen[:, 0]) - self.offset) * _inverse(self.scale)
        trackers = seen[:, 0, self.given :]
        seen, views, guess = self._look(seen[..., : self.given], pictures)
        wrong = functional.smooth_l1_loss(
            self._network(seen, views, told), goal, beta=0.1, reduction="none"
        )
        found = (wrong * moving).mean() / moving.mean().clamp_min(1e-6)
        if not self.card.guides:
            return found
        shown = (trackers - self.place) * _inverse(self.reach)
        return found + functional.smooth_l1_loss(guess, shown, beta=0.1)

    def _look(self, seen: Tensor, pictures: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Readings (B, lags, D + G) with what was made out, the views (B, V), the guess (B, G)."""
        views = [
            sight(pictures[name])
            for name, sight in zip(sorted(self.card.pictures), self.sights, strict=True)
        ]
        newest = seen[:, 0]
        view = torch.cat([newest[:, :0], *views], 1)
        if not self.card.guides:
            return seen, view, view[:, :0]
        known = ((newest - self.mean[: self.given]) * self.gain[: self.given]).clamp(-CLIP, CLIP)
        guess: Tensor = self.locate(torch.cat([known, view], 1))
        made_out = (guess.detach() * self.reach + self.place)[:, None]
        return torch.cat([seen, made_out.expand(-1, seen.shape[1], -1)], -1), view, guess

    def _base(self, seen: Tensor) -> Tensor:
        """(B, D) -> (B, 1, A) measured joints, to which commands are relative; else 0."""
        return (seen[:, self.joint] * self.relative)[:, None]

    def _network(self, seen: Tensor, views: Tensor, told: Tensor) -> Tensor:
        found = ((self.senses(seen) - self.mean) * self.gain).clamp(-CLIP, CLIP).flatten(1)
        x = self.enter(torch.cat([found, views, told[:, : self.card.words]], 1))
        for block in self.blocks:
            x = block(x)
        chunk: Tensor = self.leave(self.norm(x))
        return chunk.view(-1, *self.scale.shape)


def size(shapes: Mapping[str, Shape]) -> int:
    """How many numbers the signals are."""
    return sum(prod(shape) for shape in shapes.values())


def spread(x: Tensor) -> Tensor:
    """Robust standard deviation over the first axis, from the 1 % and 99 % quantiles.

    Never under a third of the plain one: what moves rarely must not be blown up. A constant
    has spread 0, rounding aside.
    """
    rows = x[:: max(1, len(x) // 20_000)]
    ordered = rows.sort(0).values
    low, high = ordered[int(0.01 * (len(rows) - 1))], ordered[int(0.99 * (len(rows) - 1))]
    size = torch.maximum((high - low) / 4.653, x.std(0) / 3)
    return torch.where(size > 1e-6, size, 0.0)


def _inverse(size: Tensor) -> Tensor:
    """1 / size, and 0 where the size is 0: what never varied is not looked at."""
    return torch.where(size > 0, 1.0 / size.clamp_min(1e-12), 0.0)
