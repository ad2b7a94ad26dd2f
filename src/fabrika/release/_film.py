"""Pictures and videos of stored episodes, made from their states through `Pictured`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fabrika._episode import Episode
from fabrika._errors import ContractError
from fabrika._signals import Array
from fabrika._world import Pictured, World

SCENE = "scene"
"""The camera that shows the whole to a person, where a world has it."""


def pictured(world: World) -> Pictured:
    """The world as one that makes pictures; `ContractError` if it cannot."""
    if not isinstance(world, Pictured):
        raise ContractError(
            f"{type(world).__name__} has no cameras, so nothing can be shown. "
            "A world that implements fabrika.Pictured (cameras, dress, picture) can."
        )
    return world


def film(world: World, episode: Episode, *, height: int = 288, every: int = 1) -> Iterator[Array]:
    """Frames of an episode: the scene camera, and the robot's own in a column beside it.

    Yields (height, width, 3) uint8 arrays of one even size, one for each ``every``-th state.
    """
    maker = pictured(world)
    maker.dress(episode.scenario)
    own = [camera for camera in maker.cameras if camera != SCENE]
    main = SCENE if SCENE in maker.cameras else own.pop(0)
    tile = height // max(len(own), 1) // 2 * 2
    for state in episode.states[::every]:
        left = maker.picture(state, main, height, height * 4 // 3 // 2 * 2)
        if not own:
            yield left
            continue
        column = np.zeros((height, tile, 3), np.uint8)
        for row, camera in enumerate(own):
            column[row * tile : (row + 1) * tile] = maker.picture(state, camera, tile, tile)
        yield np.concatenate([left, column], axis=1)


def stills(
    world: World, episode: Episode, *, height: int = 240, moments: Sequence[float] = (0.0, 0.5, 1.0)
) -> dict[str, list[Array]]:
    """Pictures of every camera at some moments of an episode (0 its start, 1 its end)."""
    maker = pictured(world)
    maker.dress(episode.scenario)
    last = len(episode.states) - 1
    states = [episode.states[round(moment * last)] for moment in moments]
    return {
        camera: [
            maker.picture(state, camera, height, height * 4 // 3 if camera == SCENE else height)
            for state in states
        ]
        for camera in maker.cameras
    }


def encode_h264(frames: Iterable[Array], fps: float, target: Path | None = None) -> bytes:
    """An H.264 video (mp4, yuv420p, index in front) of equal-sized RGB frames.

    Written whole to ``target`` when given; a video that could not be finished leaves no file.
    """
    import av

    with TemporaryDirectory(prefix="fabrika-film-") as folder:
        # A real file: the index can only be moved to the front of one that is opened again.
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream: Any = None
            for frame in frames:
                if stream is None:
                    stream = _stream(container, fps, frame)
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            if stream is None:
                raise ContractError("a video needs at least one frame.")
            container.mux(stream.encode(None))
        data = path.read_bytes()
    if target is not None:
        write_whole(target, data)
    return data


def _stream(container: Any, fps: float, frame: Array) -> Any:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"preset": "veryfast", "crf": "26"}
    stream.thread_count = 1
    return stream


def encode_jpeg(picture: Array) -> bytes:
    """One (H, W, 3) uint8 picture as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=85)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target and rename: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
