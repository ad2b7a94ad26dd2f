"""Which observation is shown now: it plays, pauses and jumps."""

from __future__ import annotations

from threading import Lock

import numpy as np

from fabrika._signals import Array


class Clock:
    """Plays time stamps (T + 1,) [s] against a clock that is told, in seconds.

    It begins paused at the first observation, stops at the last, and plays again from the start
    from there. Safe to use from several threads.
    """

    def __init__(self, times: Array) -> None:
        self._times = times
        self._lock = Lock()
        self._from, self._since = float(times[0]), 0.0
        self._speed, self._playing = 1.0, False

    @property
    def playing(self) -> bool:
        """Whether it moves on by itself."""
        return self._playing

    def frame(self, now: float) -> int:
        """The observation that is shown at ``now`` [s]: the latest that has been reached."""
        with self._lock:
            at = self._at(now)
            if at >= self._times[-1]:
                self._from, self._playing = float(self._times[-1]), False
            # A time stamp is reached despite the last bit of a sum.
            return max(int(np.searchsorted(self._times, at + 1e-9, side="right")) - 1, 0)

    def toggle(self, now: float) -> None:
        """Play or pause; at the end, play again from the start."""
        with self._lock:
            at = self._at(now)
            over = at >= self._times[-1]
            self._from, self._since = float(self._times[0]) if over else at, now
            self._playing = over or not self._playing

    def seek(self, time: float) -> None:
        """Pause at the observation of a time [s], or at the nearest that there is."""
        with self._lock:
            nearest = int(np.argmin(np.abs(self._times - time)))
            self._from, self._playing = float(self._times[nearest]), False

    def set_speed(self, speed: float, now: float) -> None:
        """Play ``speed`` times as fast as it happened, from here on."""
        with self._lock:
            self._from, self._since, self._speed = self._at(now), now, speed

    def _at(self, now: float) -> float:
        gone = (now - self._since) * self._speed if self._playing else 0.0
        return self._from + gone
