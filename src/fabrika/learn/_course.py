"""One training run: a loop whose every step is a function of data, recipe and step number."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from fabrika._errors import UsageError, VersionError
from fabrika.learn._card import Card, Sensors
from fabrika.learn._checkpoint import Checkpoint, versions
from fabrika.learn._frames import Frames
from fabrika.learn._policy import Policy, spread
from fabrika.learn._words import WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that fixes the weights, beside the data, the threads and the version of torch."""

    seed: int = 0
    steps: int = 8000
    batch: int = 256
    rate: float = 1e-3
    """Peak of the learning rate: warm-up, then half a cosine to 2 % of it."""
    warm_up: int = 200
    """Steps until the peak."""
    decay: float = 1e-2
    """Weight decay of AdamW."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is what is exported."""
    recall: bool = True
    """Read the last command too; what is predicted is then relative to it."""
    relative: bool = True
    """Predict commands as differences from the measured joints, where there are such."""
    noise: float = 0.01
    """Noise on readings, in spreads. The goal stays, so that drift is corrected, not copied."""
    noise_most: float = 0.003
    """And at most so much [m or rad]: what varies by metres has to be read to a millimetre."""
    shift: int = 1
    """Pictures are moved by up to this many pixels, and their light is varied."""
    every: int = 3
    """Pictures are made for one tick in so many."""
    width: int = 256
    depth: int = 3
    chunk: int = 16
    execute: int = 1
    fade: float = 0.9
    lags: tuple[int, ...] = (0,)
    linger: int = 25
    """How many times the last tick of each episode is shown, so that the end is a place to stay."""

    def card(self, frames: Frames, sensors: Sensors, threads: int, device: str) -> Card:
        """The card of the policy that this recipe makes of the frames."""
        return Card(
            task=frames.task,
            sensors=sensors,
            reads=frames.reads,
            pictures={name: tuple(a.shape[1:]) for name, a in frames.pictures.items()},
            acts=frames.acts,
            guides=frames.guides,
            dt=frames.dt,
            chunk=self.chunk,
            execute=self.execute,
            fade=self.fade,
            limits=frames.limits(),
            lags=self.lags,
            # One task, one thing to do: what the trackers and joints show is enough.
            words=WORDS if frames.pictures else 0,
            made={
                "data": frames.digest,
                "episodes": len(frames.ids),
                "recipe": {**asdict(self), "lags": list(self.lags)},
                "threads": threads,
                "device": device,
                "determinism": PROMISES.get(device, PROMISES["cuda"]),
                "versions": versions(),
            },
        )


PROMISES = {
    "cpu": "D0: equal data, recipe and threads give equal weights, for these versions and this "
    "capability of the processor",
    "cuda": "D3: sums on a GPU are in no fixed order, so that other weights come of the same "
    "command, and have to be judged again",
}
"""What is promised of a training, by its device: see `fabrika._tier`."""


class Batches:
    """Rows of the frames as tensors: windows of readings, chunks of commands."""

    def __init__(self, frames: Frames, card: Card, device: str, linger: int = 1) -> None:
        self.frames, self.card, self.device = frames, card, device
        self.seen = torch.from_numpy(frames.seen).to(device)
        self.done = torch.from_numpy(frames.done).to(device)
        episode = frames.episode
        self._first = frames.starts[episode]
        self._last = frames.starts[episode + 1] - 1
        self._episode = episode
        out = frames.held_out()[episode[frames.pictured]]
        learned = frames.pictured[~out]
        # Of each episode, the last row that may be learned from.
        ends = learned[np.diff(episode[learned], append=-1) != 0]
        self.train: NDArray[np.int64] = np.sort(np.r_[learned, np.repeat(ends, linger - 1)])
        """Rows to learn from; the last of an episode ``linger`` times."""
        self.held_out: NDArray[np.int64] = frames.pictured[out]
        """Rows of the episodes that are not learned from."""
        self._epoch, self._order = -1, self.train

    def draw(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """The rows of one step. Each epoch is a permutation, drawn from (seed, epoch)."""
        places = np.arange(step * size, (step + 1) * size)
        rows = np.empty(size, np.int64)
        for epoch in range(places[0] // len(self.train), places[-1] // len(self.train) + 1):
            if epoch != self._epoch:
                order = np.random.default_rng([seed, int(epoch)]).permutation(len(self.train))
                self._epoch, self._order = int(epoch), self.train[order]
            now = places // len(self.train) == epoch
            rows[now] = self._order[places[now] % len(self.train)]
        return rows

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Readings (B, lags, D + G), pictures, words (B, W), commands (B, chunk, A).

        Before an episode its first reading stands, after it its last command is held.
        """
        ago, ahead = np.array(self.card.lags), np.arange(self.card.chunk)
        past = np.maximum(rows[:, None] - ago, self._first[rows][:, None])
        future = np.minimum(rows[:, None] + ahead, self._last[rows][:, None])
        places = np.searchsorted(self.frames.pictured, rows)
        pictures = {
            name: torch.from_numpy(self.frames.pictures[name][places]).to(self.device)
            for name in sorted(self.frames.pictures)
        }
        told = torch.from_numpy(self.frames.told[self._episode[rows]])
        return (
            self.seen[torch.from_numpy(past).to(self.device)],
            pictures,
            told.to(self.device),
            self.done[torch.from_numpy(future).to(self.device)],
        )


class Course:
    """The network, the moving average, the optimiser, and the place reached."""

    network: type[Policy] = Policy
    """What is trained; benchmarks train others in its place."""

    def __init__(
        self, frames: Frames, sensors: Sensors, recipe: Recipe, device: str, threads: int
    ) -> None:
        self.recipe, self.device, self.threads = recipe, device, threads
        self.card = recipe.card(frames, sensors, threads, device)
        self.batches = Batches(frames, self.card, device, recipe.linger)
        torch.manual_seed(recipe.seed)
        self.policy = self.network(self.card, recipe.width, recipe.depth)
        rows = self.batches.train[:: max(1, len(self.batches.train) // 20_000)]
        self.policy.to(device)
        seen, _, _, done = self.batches.batch(rows)
        self.policy.normalise(seen[:, 0], done, relative=recipe.relative)
        self.size = spread(seen[:, 0])
        self.average = self.network(self.card, recipe.width, recipe.depth).to(device)
        self.average.load_state_dict(self.policy.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.policy.parameters(),
            lr=recipe.rate,
            betas=(0.9, 0.99),
            weight_decay=recipe.decay,
            fused=True,
        )
        self.step = 0
        self.curve: dict[str, list[float]] = {
            name: [] for name in ("step", "seconds", "train_loss", "held_out_loss")
        }

    def advance(self) -> Tensor:
        """One step; its loss. All that is random is drawn from (seed, step)."""
        recipe, step = self.recipe, self.step
        chance = np.random.default_rng([recipe.seed, step, 1])
        rows = self.batches.draw(recipe.seed, step, recipe.batch)
        seen, pictures, told, done = self.batches.batch(rows)
        if recipe.noise:
            noise = torch.from_numpy(chance.standard_normal(seen.shape, np.float32))
            size = (recipe.noise * self.size).clamp(max=recipe.noise_most)
            seen = seen + size * noise.to(self.device)
        pictures = {name: _jitter(p, recipe.shift, chance) for name, p in pictures.items()}
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate * _pace(step, recipe.steps, recipe.warm_up)
        # bf16 halves the time where the hardware has it; this is not so of every CPU.
        fast = torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()
        with fast:
            loss = self.policy.loss(seen, pictures, told, done)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimiser.step()
        keep = min(recipe.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.policy.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        self.step += 1
        return loss.detach()

    @torch.no_grad()
    def held_out_loss(self, most: int = 4096) -> float:
        """Mean loss of the averaged weights on episodes that are not learned from."""
        rows = self.batches.held_out
        rows = rows[:: max(1, len(rows) // most)]
        parts = [rows[i : i + 256] for i in range(0, len(rows), 256)]
        total = sum(float(self.average.loss(*self.batches.batch(p))) * len(p) for p in parts)
        return total / len(rows)

    def note(self, seconds: float, train_loss: float, held_out_loss: float) -> None:
        """Add a point to the curve; seconds since the last one [s]."""
        before = self.curve["seconds"][-1] if self.curve["seconds"] else 0.0
        self.curve["step"].append(self.step)
        self.curve["seconds"].append(before + seconds)
        self.curve["train_loss"].append(train_loss)
        self.curve["held_out_loss"].append(held_out_loss)

    def checkpoint(self) -> Checkpoint:
        """All that `restore` needs."""
        names = [name for name, _ in self.policy.named_parameters()]
        tensors = {f"weight/{n}": t for n, t in self.policy.state_dict().items()}
        tensors |= {f"average/{n}": t for n, t in self.average.state_dict().items()}
        for name, state in zip(names, self.optimiser.state_dict()["state"].values(), strict=True):
            tensors[f"first/{name}"] = state["exp_avg"]
            tensors[f"second/{name}"] = state["exp_avg_sq"]
        facts = {
            "card": self.card.to_json(),
            "recipe": asdict(self.recipe),
            "step": self.step,
            "data": self.batches.frames.digest,
            "threads": self.threads,
            "versions": versions(),
            "curve": self.curve,
        }
        return Checkpoint(tensors, facts)

    def restore(self, old: Checkpoint, where: str) -> None:
        """Go on from a checkpoint. Refuses other data, another recipe, another torch."""
        facts, tensors = old.facts, old.tensors
        if facts["versions"] != versions():
            raise VersionError(
                f"{where} was trained with {facts['versions']}, here is {versions()}: going on "
                "would not give the same policy. Train in another folder."
            )
        if facts["data"] != self.batches.frames.digest:
            raise UsageError(
                f"{where} was trained on other data (digest {facts['data'][:12]}, here "
                f"{self.batches.frames.digest[:12]}). Train in another folder."
            )
        recipe = {**asdict(self.recipe), "lags": list(self.recipe.lags)}
        other = [name for name, value in recipe.items() if facts["recipe"].get(name) != value]
        if other:
            what = ", ".join(f"{name} {facts['recipe'].get(name)}" for name in other)
            raise UsageError(f"{where} was trained with {what}. Train in another folder.")
        for group, module in (("weight", self.policy), ("average", self.average)):
            mine = {n.partition("/")[2]: t for n, t in tensors.items() if n.startswith(group)}
            module.load_state_dict(mine)
        self.step, self.curve = int(facts["step"]), facts["curve"]
        state = {
            i: {
                "step": torch.tensor(float(self.step)),
                "exp_avg": tensors[f"first/{name}"].clone(),
                "exp_avg_sq": tensors[f"second/{name}"].clone(),
            }
            for i, (name, _) in enumerate(self.policy.named_parameters())
        }
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _pace(step: int, steps: int, warm_up: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine from 1 to 0.02."""
    rise = min(1.0, (step + 1) / max(1, warm_up))
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _jitter(pictures: Tensor, shift: int, chance: np.random.Generator) -> Tensor:
    """Move each picture by up to ``shift`` pixels, its border repeated; vary its light by 15 %."""
    count, height, width, _ = pictures.shape
    move = chance.integers(-shift, shift + 1, (2, count, 1))
    light = chance.uniform(0.85, 1.15, (count, 1, 1, 1)).astype(np.float32)
    rows = torch.from_numpy(np.clip(np.arange(height) + move[0], 0, height - 1))
    places = torch.from_numpy(np.clip(np.arange(width) + move[1], 0, width - 1))
    device = pictures.device
    each = torch.arange(count, device=device)[:, None, None]
    moved = pictures[each, rows.to(device)[:, :, None], places.to(device)[:, None, :]]
    lit: Tensor = moved.float() * torch.from_numpy(light).to(device)
    return lit.clamp(0, 255)
