"""From a checkpoint to ``policy.onnx``: the whole policy as one graph, written node by node.

Inputs are the card's signals under their own names, each (lags, *shape) float32, newest first;
its pictures (H, W, 3) uint8; and "instruction" (words,) float32, if it is read. Outputs are
the commands, each (chunk, *shape) float32. Normalisers, differences between bodies and joint
offsets are in the graph: whoever runs it needs this file and nothing of Fabrika.

The graph is built from the network's own modules rather than traced: it is a page of standard
operators, the same on every version of torch, and a test holds both to equal outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from fabrika._errors import ResourceError, UsageError
from fabrika.learn._card import CARD_KEY, Card
from fabrika.learn._checkpoint import load_checkpoint
from fabrika.learn._policy import CLIP, NEAR, WAVE, Block, Policy, Senses, Sight, grid

OPSET = 17
"""Old enough for any ONNX Runtime since 2022."""
IR = 8
INSTRUCTION = "instruction"


def export_policy(checkpoint: Path, out: Path) -> Path:
    """Write the averaged weights of a checkpoint, or of a training folder, as one ONNX file.

    Equal checkpoints give equal bytes. The file is there whole or not at all.
    """
    found = load_checkpoint(checkpoint)
    card = Card.from_json(found.facts["card"], str(checkpoint))
    policy = Policy(card, found.facts["recipe"]["width"], found.facts["recipe"]["depth"])
    policy.load_state_dict(
        {n.partition("/")[2]: t for n, t in found.tensors.items() if n.startswith("average/")}
    )
    if out.suffix != ".onnx":
        raise UsageError(f"a policy is one .onnx file, not {out.name!r}.")
    staged = out.with_name(f"{out.name}.tmp")
    try:
        staged.write_bytes(to_onnx(policy).SerializeToString(deterministic=True))
        staged.replace(out)
    except OSError as error:
        raise ResourceError(f"cannot write {out}: {error.strerror}.") from error
    finally:
        staged.unlink(missing_ok=True)
    return out


def to_onnx(policy: Policy) -> onnx.ModelProto:
    """The policy as a checked ONNX model with its card in the metadata."""
    with torch.no_grad():
        graph = _Graph(policy.card)
        graph.policy(policy.eval())
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", graph.inputs, graph.outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="fabrika",
    )
    helper.set_model_props(model, {CARD_KEY: policy.card.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes, in the order in which they are computed. Every method gives the name of a value."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Tensor | NDArray[np.generic] | Sequence[int] | float) -> str:
        array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def shaped(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.constant(shape))

    def take(self, x: str, index: Tensor, axis: int) -> str:
        return self.node("Gather", x, self.constant(index), axis=axis)

    def policy(self, policy: Policy) -> None:
        card = self.card
        lags, (chunk, acts) = len(card.lags), policy.scale.shape
        parts = []
        for name in sorted(card.reads):
            shape = card.reads[name]
            self.inputs.append(_info(name, TensorProto.FLOAT, (lags, *shape)))
            parts.append(self.shaped(name, lags, prod(shape)))
        views = []
        for name, sight in zip(sorted(card.pictures), policy.sights, strict=True):
            self.inputs.append(_info(name, TensorProto.UINT8, card.pictures[name]))
            assert isinstance(sight, Sight)
            views.append(self.sight(sight, name, card.pictures[name]))
        newest = raw = ""
        found: list[str] = []
        if parts:
            raw = self.node("Concat", *parts, axis=1)
            newest = self.take(raw, torch.tensor([0]), 0)
        if parts or card.guides:
            x = self.made_out(policy, raw, newest, views) if card.guides else raw
            x = self.normal(self.senses(policy.senses, x), policy.mean, policy.gain)
            found.append(self.shaped(x, 1, -1))
        found += views
        if card.words:
            self.inputs.append(_info(INSTRUCTION, TensorProto.FLOAT, (card.words,)))
            found.append(self.shaped(INSTRUCTION, 1, card.words))
        x = self.linear(policy.enter, self.node("Concat", *found, axis=1))
        for block in policy.blocks:
            assert isinstance(block, Block)
            x = self.block(block, x)
        x = self.shaped(self.linear(policy.leave, self.normed(policy.norm, x)), chunk, acts)
        x = self.node("Mul", x, self.constant(policy.scale))
        x = self.node("Add", x, self.constant(policy.offset))
        if newest:
            base = self.take(newest, policy.joint, 1)
            x = self.node("Add", x, self.node("Mul", base, self.constant(policy.relative)))
        self.commands(x)

    def normal(self, x: str, mean: Tensor, gain: Tensor) -> str:
        x = self.node("Mul", self.node("Sub", x, self.constant(mean)), self.constant(gain))
        return self.node("Clip", x, self.constant(-CLIP), self.constant(CLIP))

    def made_out(self, policy: Policy, raw: str, newest: str, views: Sequence[str]) -> str:
        """(lags, D) and what the pictures tell of the guides -> (lags, D + G)."""
        known = []
        if newest:
            given = slice(policy.given)
            known.append(self.normal(newest, policy.mean[given], policy.gain[given]))
        first, _, last = policy.locate
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        x = self.linear(first, self.node("Concat", *known, *views, axis=1))
        x = self.linear(last, self.node("Mul", x, self.node("Sigmoid", x)))
        x = self.node("Mul", x, self.constant(policy.reach))
        x = self.node("Add", x, self.constant(policy.place))
        shape = self.constant([len(self.card.lags), len(policy.place)])
        x = self.node("Expand", x, shape)
        return self.node("Concat", raw, x, axis=1) if raw else x

    def commands(self, x: str) -> None:
        names = sorted(self.card.acts)
        sizes = self.constant([prod(self.card.acts[name]) for name in names])
        parts = [f"{name}/flat" for name in names]
        self.nodes.append(helper.make_node("Split", [x, sizes], parts, axis=1))
        for name, part in zip(names, parts, strict=True):
            shape = (self.card.chunk, *self.card.acts[name])
            self.nodes.append(
                helper.make_node("Reshape", [part, self.constant(shape)], [f"act/{name}"])
            )
            self.outputs.append(_info(f"act/{name}", TensorProto.FLOAT, shape))

    def senses(self, senses: Senses, x: str) -> str:
        """(lags, D) -> (lags, F)."""
        if not len(senses.target):
            return x
        lags = len(self.card.lags)
        d = self.node("Sub", self.take(x, senses.target, 1), self.take(x, senses.origin, 1))
        tracked, turned = torch.arange(senses.palms, len(senses.target)), list[str]()
        close = [self.shaped(self.take(d, tracked, 1), lags, -1)] if len(tracked) else []
        if senses.palms:
            first = self.take(x, senses.palm[:, :3], 1)
            second = self.take(x, senses.palm[:, 3:], 1)
            axes = (first, second, self.cross(first, second))
            near = self.take(d, torch.arange(senses.palms), 1)
            others = [self.take(x, senses.other[:, part], 1) for part in (slice(3), slice(3, 6))]
            for v in (near, *others):
                for axis in axes:
                    product = self.node("Mul", axis, v)
                    turned.append(self.node("ReduceSum", product, self.constant([-1]), keepdims=0))
            close += turned[:3]
        shares = self.node("Div", self.node("Concat", *close, axis=1), self.constant(NEAR))
        more = [self.shaped(d, lags, -1), self.node("Tanh", shares)]
        if len(senses.places):
            places = self.take(x, senses.places.flatten(), 1)
            turns = self.node("Mul", places, self.constant(2 * pi / WAVE))
            more += [self.node("Sin", turns), self.node("Cos", turns)]
        return self.node("Concat", x, *more, *turned, axis=1)

    def cross(self, a: str, b: str) -> str:
        """The cross product over the last of three axes."""
        ahead, behind = torch.tensor([1, 2, 0]), torch.tensor([2, 0, 1])
        plus = self.node("Mul", self.take(a, ahead, 2), self.take(b, behind, 2))
        minus = self.node("Mul", self.take(a, behind, 2), self.take(b, ahead, 2))
        return self.node("Sub", plus, minus)

    def sight(self, sight: Sight, name: str, shape: tuple[int, ...]) -> str:
        """(H, W, 3) uint8 -> (1, features)."""
        x = self.node("Cast", name, to=TensorProto.FLOAT)
        x = self.node("Transpose", x, perm=[2, 0, 1])
        x = self.shaped(x, 1, shape[2], shape[0], shape[1])
        x = self.node("Sub", self.node("Div", x, self.constant(127.5)), self.constant(1.0))
        height, width = shape[:2]
        for i, conv in enumerate(sight.convs):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            x = self.node("Relu", x) if i else x
            x = self.node(
                "Conv",
                x,
                self.constant(conv.weight),
                self.constant(conv.bias),
                strides=list(conv.stride),
                pads=[int(p) for p in conv.padding] * 2,
            )
            height, width = (-(-side // conv.stride[0]) for side in (height, width))
        flat = self.shaped(x, 1, sight.CHANNELS[-1], height * width)
        sharp = self.node("Mul", flat, self.constant(sight.sharpness))
        weight = self.node("Softmax", sharp, axis=-1)
        where = self.node("MatMul", weight, self.constant(grid(height, width)))
        peak = self.node(
            "ReduceSum", self.node("Mul", weight, flat), self.constant([-1]), keepdims=1
        )
        return self.shaped(self.node("Concat", where, peak, axis=2), 1, sight.features)

    def block(self, block: Block, x: str) -> str:
        h = self.linear(block.up, self.normed(block.norm, x))
        h = self.node("Mul", h, self.node("Sigmoid", h))
        return self.node("Add", x, self.linear(block.down, h))

    def linear(self, layer: nn.Linear, x: str) -> str:
        return self.node(
            "Gemm", x, self.constant(layer.weight), self.constant(layer.bias), transB=1
        )

    def normed(self, layer: nn.LayerNorm, x: str) -> str:
        return self.node(
            "LayerNormalization",
            x,
            self.constant(layer.weight),
            self.constant(layer.bias),
            axis=-1,
            epsilon=layer.eps,
        )


def _info(name: str, kind: int, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))
