"""What the policy was chosen from: flow matching with a residual network, or a transformer.

Both share the policy's inputs, normalisers and chunks, and differ in the network alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fabrika.learn._actor import OnnxPolicy
from fabrika.learn._card import Card, columns
from fabrika.learn._policy import CLIP, Policy


def embed_time(time: Tensor, size: int = 64) -> Tensor:
    """(B, 1) in 0..1 -> (B, size)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), size // 2))
    return torch.cat([torch.sin(time * rates), torch.cos(time * rates)], -1)


class Modulated(nn.Module):
    """A residual layer whose normalisation is set by a condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.set = nn.Linear(width, 2 * width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.set(condition).chunk(2, -1)
        return x + self.down(functional.silu(self.up(self.norm(x) * (1 + scale) + shift)))


class FlowPolicy(Policy):
    """Flow matching: the velocity from noise to chunk, integrated in five Euler steps from 0."""

    STEPS = 5

    def __init__(self, card: Card, width: int, depth: int) -> None:
        super().__init__(card, width, depth)
        size = self.scale.numel()
        found = self.enter.in_features
        self.see = nn.Sequential(nn.Linear(found, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Modulated(width) for _ in range(depth))

    def condition(self, seen: Tensor) -> Tensor:
        found = ((self.senses(seen) - self.mean) * self.gain).clamp(-CLIP, CLIP)
        return self.see(found.flatten(1))

    def velocity(self, seen: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        condition = functional.silu(seen + self.time(embed_time(time)))
        x = self.enter(noisy.flatten(1)) + seen
        for block in self.blocks:
            x = block(x, condition)
        return self.leave(self.norm(x)).view(noisy.shape)

    def _network(self, seen: Tensor, views: Tensor, told: Tensor) -> Tensor:
        condition = self.condition(seen)
        x = torch.zeros(len(seen), *self.scale.shape)
        for step in range(self.STEPS):
            time = torch.full((len(seen), 1), step / self.STEPS)
            x = x + self.velocity(condition, x, time) / self.STEPS
        return x

    def loss(
        self, seen: Tensor, pictures: Mapping[str, Tensor], told: Tensor, done: Tensor
    ) -> Tensor:
        if not self.enter.weight.requires_grad or not torch.is_grad_enabled():
            return super().loss(seen, pictures, told, done)
        moving = (self.scale[0] > 0).float()
        scale = torch.where(self.scale > 0, self.scale, torch.inf)
        goal = (done - self._base(seen[:, 0]) - self.offset) / scale
        time = torch.sigmoid(torch.randn(len(seen), 1))
        noise = torch.randn_like(goal)
        noisy = (1 - time[..., None]) * noise + time[..., None] * goal
        wrong = self.velocity(self.condition(seen), noisy, time) - (goal - noise)
        return (wrong**2 * moving).mean() / moving.mean().clamp_min(1e-6)


class FlowTransformer(FlowPolicy):
    """The same with a token for each tick of the chunk, four for what is seen, one for time."""

    def __init__(self, card: Card, width: int, depth: int) -> None:
        super().__init__(card, width, depth)
        chunk, acts = self.scale.shape
        found = self.see[0].in_features
        self.wide = width
        self.see = nn.Sequential(
            nn.Linear(found, 2 * width), nn.SiLU(), nn.Linear(2 * width, 4 * width)
        )
        self.enter, self.leave = nn.Linear(acts, width), nn.Linear(width, acts)
        self.order = nn.Parameter(0.02 * torch.randn(chunk + 5, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)]
        )

    def velocity(self, seen: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        tokens = [seen.view(-1, 4, self.wide), self.time(embed_time(time))[:, None]]
        x = torch.cat([*tokens, self.enter(noisy)], 1) + self.order
        return self.leave(self.norm(self.blocks[0](x)[:, 5:]))


class TorchSession:
    """Runs a policy by torch where an actor expects ONNX Runtime."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.eval()

    @torch.no_grad()
    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        card = self.policy.card
        parts = [feed[name].reshape(len(card.lags), -1) for name in sorted(card.reads)]
        seen = torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))[None]
        chunk = self.policy(seen, {}, torch.zeros(1, 0))[0].numpy()
        parts_out = columns(card.acts)
        return [
            chunk[:, parts_out[name]].reshape(-1, *card.acts[name]) for name in sorted(card.acts)
        ]


def actor_of(policy: Policy, name: str) -> OnnxPolicy:
    return OnnxPolicy(TorchSession(policy), policy.card, name)  # type: ignore[arg-type]


NETWORKS: dict[str, tuple[type[Policy], int, int]] = {
    "regression, residual": (Policy, 256, 3),
    "flow matching, residual": (FlowPolicy, 256, 3),
    "flow matching, transformer": (FlowTransformer, 96, 3),
}
"""Network, width and depth."""
