"""Stills: depth and segmentation, picture by picture, as PNG: nothing is lost.

They lie in the data files, as LeRobot keeps pictures that are no video: 16 bits of a depth map
come back as they were, and so do the colours that tell bodies apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fabrika._errors import ContractError
from fabrika._signals import Array
from fabrika.data._layout import Feature
from fabrika.data._stats import Counts

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """What a camera shows beside its picture."""

    prefix: str
    """Of its feature's name; the camera's name follows."""
    dtype: str
    channels: int
    values: int
    """How many different values an entry may have."""
    pixels: str
    """FFmpeg's name of the PNG's pixels."""
    info: Mapping[str, Any] = field(default_factory=dict)

    def feature(self, size: tuple[int, int]) -> Feature:
        """What info.json says of it, at a size (height, width)."""
        return Feature(
            dtype="image",
            shape=(*size, self.channels),
            names=("height", "width", "channels"),
            info=dict(self.info),
        )


LAYERS = {
    "depth": Layer(
        prefix="observation.depth.",
        dtype="uint16",
        channels=1,
        values=1 << 16,
        pixels="gray16be",
        info={"is_depth_map": True, "depth_unit": "mm"},
    ),
    "segmentation": Layer(
        prefix="observation.segmentation.", dtype="uint8", channels=3, values=256, pixels="rgb24"
    ),
}
"""By name: each is also the name of the method of `Layers` that makes it."""


class Layers(Protocol):
    """Makes layers of the states of a dressed scenario, each (height, width, channels)."""

    def depth(self, state: Array, camera: str, height: int, width: int) -> Array:
        """uint16 distance along the camera's axis [mm]."""

    def segmentation(self, state: Array, camera: str, height: int, width: int) -> Array:
        """uint8 colour of the body that is seen; black is none."""

    def bodies(self) -> Mapping[str, Colour]:
        """Each body's colour: it follows from its name alone."""


@runtime_checkable
class Layered(Protocol):
    """A world that is `fabrika.Pictured`, and whose pictures have layers."""

    @property
    def pictures(self) -> Layers:
        """For the scenario that was dressed last."""


class Stills:
    """One layer of one camera in one episode, as it comes.

    ``counts``: (channels, values) how often each value occurred.
    """

    def __init__(self, layer: Layer, size: tuple[int, int]) -> None:
        self.counts: Counts = np.zeros((layer.channels, layer.values), np.int64)
        self._layer, self._shape = layer, (*size, layer.channels)
        self._png: list[bytes] = []
        codec: Any = av.CodecContext.create("png", "w")
        codec.height, codec.width = size
        codec.pix_fmt, codec.time_base, codec.thread_count = layer.pixels, Fraction(1), 1
        self._codec = codec

    def add(self, picture: Array) -> None:
        """The next picture."""
        layer = self._layer
        if picture.shape != self._shape or picture.dtype != layer.dtype:
            raise ContractError(
                f"a camera gave {picture.dtype} {picture.shape} for {layer.prefix}*; declared: "
                f"{layer.dtype} {self._shape}."
            )
        for channel in range(layer.channels):
            values = picture[:, :, channel].ravel()
            self.counts[channel] += np.bincount(values, minlength=layer.values)
        plain = np.ascontiguousarray(picture[:, :, 0] if layer.channels == 1 else picture)
        frame = av.VideoFrame.from_ndarray(plain, format=layer.pixels)
        frame.pts = len(self._png)
        self._png += [bytes(packet) for packet in self._codec.encode(frame)]

    def write(self, path: Path) -> None:
        """Leave them in a file, for `read_stills`."""
        self._png += [bytes(packet) for packet in self._codec.encode(None)]
        pq.write_table(pa.table({"png": pa.array(self._png, pa.binary())}), path)


def read_stills(path: Path, kind: pa.StructType) -> pa.Array:
    """What `Stills.write` left, as a column of pictures that are in the file itself."""
    png = pq.read_table(path, memory_map=False).column("png").combine_chunks()
    return pa.StructArray.from_arrays([png, pa.nulls(len(png), pa.string())], fields=list(kind))
