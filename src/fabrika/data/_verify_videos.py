"""Checks of the videos: every picture is there, on time, of its size, and shows something."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fabrika.data._film import PixelHash
from fabrika.data._findings import Findings
from fabrika.data._layout import TOLERANCE, Feature
from fabrika.data._stats import Counts
from fabrika.data._verify_episodes import Episodes
from fabrika.data._verify_info import DAMAGED, Claims
from fabrika.data._verify_rows import Rows, picture_batches

BLACK = 24
"""Luma up to which a pixel is black; video's own black is 16 of 255."""
FROZEN = 2.0
"""Levels that the mean of a block may change in a picture that stands still: coding noise."""
_BLOCK = 8
"""Side of a block [pixels]."""
_EVERY = 16
"""One picture of so many is counted for the statistics."""


@dataclass(slots=True)
class Pictures:
    """What was seen of one camera."""

    counts: Counts = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    """(3, 256) how often each value occurred, in a part of the pictures."""
    prints: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By episode: what its pictures look like on average, however they were encoded."""


@dataclass(slots=True)
class _Glance:
    """One episode's pictures, as far as they have come."""

    first: NDArray[np.float32] | None = None
    brightest: int = 0
    change: float = 0.0
    total: NDArray[np.float32] | None = None
    frames: int = 0
    pixels: PixelHash | None = None
    """Of a dataset that promises its hash."""


def scan_videos(claims: Claims, episodes: Episodes, findings: Findings) -> dict[str, Pictures]:
    """Decode every video once, a picture at a time."""
    found: dict[str, Pictures] = {}
    for key, feature in claims.videos.items():
        found[key] = Pictures()
        for place, members in episodes.by_file(f"videos/{key}").items():
            path = claims.video_file(key, place)
            where = path.relative_to(claims.root)
            if not path.is_file():
                findings.add("file-missing", where, f"episode {members[0]} should be in it.")
            elif "length" in episodes.columns and claims.fps:
                lengths = episodes.columns["length"][members]
                ends, pixels = np.cumsum(lengths), episodes.pixels.get(key)
                scan = _Scan(claims.fps, feature, where, members, ends, findings, pixels)
                try:
                    scan.run(path)
                except (av.FFmpegError, *DAMAGED) as error:
                    findings.add("file-unreadable", where, f"{type(error).__name__}: {error}")
                scan.conclude(found[key])
    return found


class _Scan:
    """One video file."""

    def __init__(
        self,
        fps: float,
        feature: Feature,
        where: Path,
        members: list[int],
        ends: NDArray[np.int64],
        findings: Findings,
        pixels: list[str] | None,
    ) -> None:
        self._fps, self._feature, self._where = fps, feature, where
        self._members, self._ends, self._findings = members, ends, findings
        self._pixels = pixels
        self._glances = [_Glance(pixels=PixelHash() if pixels else None) for _ in members]
        self._counts: Counts = np.zeros((3, 256), np.int64)
        self._depth = is_depth(feature)

    def run(self, path: Path) -> None:
        """Demux and decode all of it."""
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise ValueError("it holds no video")
            stream: Any = file.streams.video[0]
            if not self._check_stream(stream):
                return
            stream.thread_type = "AUTO"
            number, late = 0, 0
            for packet in file.demux(stream):
                for frame in packet.decode():
                    late += self._late(frame, number, late)
                    self._look(frame, number)
                    number += 1
        if number != self._ends[-1]:
            message = f"it holds {number} pictures for {self._ends[-1]} rows."
            self._findings.add("video-frames", self._where, message)

    def conclude(self, pictures: Pictures) -> None:
        """What can be said once an episode's pictures have all been seen."""
        pictures.counts += self._counts
        for episode, glance in zip(self._members, self._glances, strict=True):
            where = f"{self._where}: episode {episode}"
            if glance.first is None or glance.total is None:
                continue
            hashed = glance.pixels and glance.pixels.hexdigest()
            if self._pixels and self._pixels[episode] != hashed:
                self._findings.add("video-pixels", where, "their SHA-256 is another.")
            pictures.prints[episode] = glance.total / np.float32(glance.frames)
            if self._depth:
                continue
            if glance.brightest <= BLACK:
                self._findings.add("video-black", where, "all of its pictures are black.")
            elif glance.change < FROZEN:
                self._findings.add("video-frozen", where, "its picture never changes.")

    def _check_stream(self, stream: Any) -> bool:
        """Size, rate and codec; False if the pictures should not be decoded."""
        height, width = _height_and_width(self._feature)
        if (stream.height, stream.width) != (height, width):
            message = f"{stream.height} x {stream.width} pixels instead of {height} x {width}."
            self._findings.add("video-size", self._where, message)
            return False
        rate = float(stream.average_rate or 0)
        if abs(rate - self._fps) > 1e-3 * self._fps:
            message = f"{rate:g} pictures a second instead of {self._fps:g}."
            self._findings.add("video-time", self._where, message)
        info = self._feature.info
        for name, found in (
            ("video.codec", stream.codec.canonical_name),
            ("video.pix_fmt", stream.pix_fmt),
            ("video.fps", rate),
        ):
            if (
                name in info
                and info[name] != found
                and not (isinstance(found, float) and _near(info[name], found))
            ):
                message = f"{name} is {found!r}; info.json says {str(info[name])[:40]!r}."
                self._findings.add("video-info", self._where, message)
        return True

    def _late(self, frame: Any, number: int, late: int) -> bool:
        """True if a picture is not shown when it should be; the first is reported."""
        shown = float(frame.pts * frame.time_base) if frame.pts is not None else -1.0
        wrong = abs(shown - number / self._fps) > TOLERANCE
        if wrong and not late:
            message = f"picture {number} is shown at {shown:.6f} s, not {number / self._fps:.6f} s."
            self._findings.add("video-time", self._where, message)
        return wrong

    def _look(self, frame: Any, number: int) -> None:
        place = int(np.searchsorted(self._ends, number, side="right"))
        if place >= len(self._glances):
            return
        glance, luma = self._glances[place], _luma(frame)
        glance.brightest = max(glance.brightest, int(luma.max()))
        means = _block_means(luma)
        coarse = _print(frame, means)
        if glance.pixels:
            glance.pixels.add(frame)
        glance.total = coarse if glance.total is None else glance.total + coarse
        glance.frames += 1
        if glance.first is None:
            glance.first = means
        glance.change = max(glance.change, float(np.abs(means - glance.first).max()))
        if number % _EVERY == 0 and not self._depth:
            picture = frame.to_ndarray(format="rgb24").reshape(-1, 3)
            for channel in range(3):
                self._counts[channel] += np.bincount(picture[:, channel], minlength=256)


def is_depth(feature: Feature) -> bool:
    """True for a depth map: darkness and colours mean nothing there."""
    return any(bool(feature.info.get(name)) for name in ("is_depth_map", "video.is_depth_map"))


def _height_and_width(feature: Feature) -> tuple[int, int]:
    """Of a picture whose axes are height, width, channels, or channels first."""
    names = list(feature.names or ())
    first = names[:1] in (["channels"], ["channel"], ["c"])
    if not names:
        first = feature.shape[0] in {1, 3} and feature.shape[2] not in {1, 3}
    return feature.shape[1:3] if first else feature.shape[:2]  # type: ignore[return-value]


def _luma(frame: Any) -> NDArray[np.uint8]:
    """(height, width) brightness, without converting colours where the video has it anyway."""
    plain = frame.format.name in {"yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray"}
    if not plain:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: frame.height, : frame.width]


def _block_means(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = (side // _BLOCK for side in luma.shape)
    if not height or not width:
        return np.array([[luma.mean()]], np.float32)
    trimmed = luma[: height * _BLOCK, : width * _BLOCK].astype(np.float32)
    means = trimmed.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3))
    return np.asarray(means, np.float32)


def _print(frame: Any, means: NDArray[np.float32]) -> NDArray[np.float32]:
    """A few numbers that say what a picture looks like: brightness by region, and hue."""
    step = [max(1, side // 8) for side in means.shape]
    hue = [np.frombuffer(plane, np.uint8).mean() for plane in frame.planes[1:]]
    return np.append(means[:: step[0], :: step[1]], hue).astype(np.float32)


def _near(told: object, found: float) -> bool:
    return isinstance(told, int | float) and abs(told - found) <= 1e-3 * found


def scan_stored_pictures(claims: Claims, rows: Rows, findings: Findings) -> None:
    """Pictures that lie in the data files: each is there, the first of each batch is decoded."""
    for key, feature in claims.features.items():
        if feature.dtype != "image" or key in rows.unsound:
            continue
        for path in rows.files:
            where = f"{path.relative_to(claims.root)}: {key}"
            try:
                for batch in picture_batches(path, key):
                    _check_stored(batch, feature, where, findings)
            except DAMAGED as error:
                findings.add("picture-unreadable", where, f"{type(error).__name__}: {error}")


def _check_stored(batch: list[Any], feature: Feature, where: str, findings: Findings) -> None:
    data = [row.get("bytes") if isinstance(row, dict) else None for row in batch]
    if not all(data):
        findings.add("value-shape", where, f"{sum(not d for d in data)} rows have no picture.")
        return
    try:
        opened: Any = av.open(io.BytesIO(data[0] or b""))
        with opened as file:
            stream = file.streams.video[0]
            found = (stream.height, stream.width)
            if found == _height_and_width(feature):
                next(file.decode(stream))
    except (av.FFmpegError, StopIteration, IndexError, pa.ArrowException, ValueError) as error:
        findings.add("picture-unreadable", where, f"{type(error).__name__}: {error}")
        return
    if found != _height_and_width(feature):
        wanted = _height_and_width(feature)
        findings.add("picture-unreadable", where, f"{found} pixels instead of {wanted}.")
