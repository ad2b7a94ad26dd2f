"""Films: pictures encoded once, an episode at a time, and joined without encoding again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from fabrika._errors import ContractError, IntegrityError
from fabrika._signals import Array
from fabrika.data._layout import MEGABYTE, VIDEO, VIDEO_MEGABYTES, Place
from fabrika.data._stats import Counts

CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {
            "crf": "23",
            "preset": "veryfast",
            "bf": "0",
            "threads": "1",
            # It was seen to give equal, narrow pictures other quantisers, once in 1,000 films.
            "x264-params": "mbtree=0",
        },
    ),
    "av1": ("libsvtav1", {"crf": "30", "preset": "12", "svtav1-params": "lp=1"}),
}
"""Encoder and its options, by the name of the format. One thread: equal pictures, equal bytes."""
GROUP = 2
"""Every second picture is whole, so that any can be found fast."""
PIXELS = "yuv420p"
_EXACT = {"fflags": "+bitexact"}


def encoder_info(codec: str, height: int, width: int, fps: int) -> dict[str, Any]:
    """What info.json says of a video: stream and encoder."""
    _, options = CODECS[codec]
    preset = options["preset"]
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": codec,
        "video.pix_fmt": PIXELS,
        "video.fps": fps,
        "video.channels": 3,
        "is_depth_map": False,
        "has_audio": False,
        "video.g": GROUP,
        "video.crf": int(options["crf"]),
        "video.preset": int(preset) if preset.isdigit() else preset,
        "video.fast_decode": 0,
    }


class Film:
    """One camera's pictures of one episode, encoded as they come.

    ``counts``: (3, 256) how often each value occurred in red, green and blue.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, codec: str) -> None:
        encoder, options = CODECS[codec]
        self.frames = 0
        self.counts: Counts = np.zeros((3, 256), np.int64)
        self._shape, self._tick = (*size, 3), Fraction(1, fps)
        self._file = av.open(str(path), "w", format="mp4", options=_EXACT)
        stream: Any = self._file.add_stream(encoder, rate=fps, options=options)
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size, stream.thread_count = PIXELS, GROUP, 1
        self._stream = stream

    def add(self, picture: Array) -> None:
        """The next picture, (height, width, 3) uint8 RGB."""
        if picture.shape != self._shape or picture.dtype != np.uint8:
            raise ContractError(
                f"a camera gave {picture.dtype} {picture.shape}; declared: uint8 {self._shape}."
            )
        for channel in range(3):
            self.counts[channel] += np.bincount(picture[:, :, channel].ravel(), minlength=256)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self.frames, self._tick
        self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        with closing(self._file):
            self._file.mux(self._stream.encode(None))


class PixelHash:
    """SHA-256 over decoded pictures: of each the planes Y, U and V, row by row, without padding.

    Over what a decoder gives, which H.264 and AV1 fix to the bit; colours are converted by
    everyone in their own way.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, frame: Any) -> None:
        """The next decoded picture."""
        for plane in frame.planes:
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            self._hash.update(np.ascontiguousarray(rows[:, : plane.width]).data)

    def hexdigest(self) -> str:
        """The SHA-256, in hexadecimal."""
        return self._hash.hexdigest()


def pixels_digest(film: Path) -> str:
    """The SHA-256 over all decoded pictures of a video: see `PixelHash`."""
    found = PixelHash()
    with av.open(str(film)) as file:
        file.streams.video[0].thread_count = 1  # small pictures: threads cost more than they save
        for frame in file.decode(video=0):
            found.add(frame)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Span:
    """Where an episode lies in the videos of one camera."""

    place: Place
    start: float
    """Seconds from the start of that file: pictures before it / fps, exactly."""
    end: float


class Reel:
    """The videos of one camera: films of whole episodes, one after another, in few files."""

    def __init__(self, root: Path, key: str, fps: int) -> None:
        self._root, self._key, self._fps = root, key, fps
        self._place = Place()
        self._frames = 0
        self._bytes = 0
        self._open = ExitStack()
        self._file: Any = None
        self._stream: Any = None

    def append(self, film: Path, frames: int) -> Span:
        """Copy a film to the end, packet by packet. A film is never split over two files."""
        size = film.stat().st_size
        if self._frames and self._bytes + size >= VIDEO_MEGABYTES * MEGABYTE:
            self._open.close()
            self._place, self._frames, self._bytes, self._file = self._place.next(), 0, 0, None
        start, copied = self._frames, 0
        with av.open(str(film)) as source:
            stream: Any = source.streams.video[0]
            if self._file is None:
                self._start(stream)
            elif self._stream.codec_context.extradata != stream.codec_context.extradata:
                raise IntegrityError(f"{film.name} was encoded otherwise than the films before it.")
            for packet in _in_order(source, stream):
                self._copy(packet)
                copied += 1
        if copied != frames:
            raise IntegrityError(f"{film.name} holds {copied} pictures instead of {frames}.")
        self._bytes += size
        return Span(self._place, start / self._fps, (start + frames) / self._fps)

    def _start(self, template: Any) -> None:
        path = self._root / self._place.path(VIDEO, self._key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open.enter_context(av.open(str(path), "w", options=_EXACT))
        self._stream = self._file.add_stream_from_template(template, opaque=True)

    def _copy(self, packet: Any) -> None:
        step = Fraction(1, self._fps) / packet.time_base
        if packet.pts != packet.dts or step.denominator != 1:
            raise IntegrityError(f"{self._fps} pictures a second cannot be timed exactly.")
        packet.stream = self._stream
        packet.pts = packet.dts = self._frames * int(step)
        packet.duration = int(step)
        self._file.mux(packet)
        self._frames += 1

    def __enter__(self) -> Reel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def _in_order(source: Any, stream: Any) -> Iterator[Any]:
    """The packets that hold pictures; the last that a demuxer gives holds none."""
    return (packet for packet in source.demux(stream) if packet.pts is not None)
