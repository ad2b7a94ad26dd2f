"""An exported policy as an actor: ONNX Runtime and NumPy, nothing else."""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import SessionOptions

from fabrika._errors import IntegrityError, UsageError
from fabrika._signals import Array, Signals
from fabrika.learn._card import CARD_KEY, Card
from fabrika.learn._words import WORDS, embed

INSTRUCTION = "instruction"


def load_policy(path: Path) -> OnnxPolicy:
    """The actor of a ``policy.onnx``.

    Raises `UsageError` if the file is not an ONNX model, has no card, or does not fit its card;
    `VersionError` if another version of Fabrika wrote the card.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror}.") from error
    options = SessionOptions()
    # One thread: sums are then always in one order, and workers do not fight for cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a kind of its own for each way to be malformed
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path} is not an ONNX model that runs here: {reason}.") from error
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    if text is None:
        raise UsageError(
            f"{path} is an ONNX model without a card ({CARD_KEY} in its metadata): it cannot be "
            "known what it reads. Export it with `fabrika train`."
        )
    card = Card.from_json(text, str(path))
    _check_fits(session, card, path)
    return OnnxPolicy(session, card, hashlib.sha256(data).hexdigest())


class OnnxPolicy:
    """Looks, predicts a chunk of commands, carries out the first few, and looks again."""

    remark = ""

    def __init__(self, session: InferenceSession, card: Card, digest: str) -> None:
        self.card = card
        self.name = f"policy:{digest[:12]}"
        self.reads = frozenset((*card.reads, *card.pictures))
        self._session = session
        self._outputs = [f"act/{name}" for name in sorted(card.acts)]
        self._words: NDArray[np.float32] = np.zeros(card.words, np.float32)
        self._past: deque[dict[str, Array]] = deque(maxlen=max(card.lags) + 1)
        self._chunk: dict[str, Array] = {}
        self._at = 0

    def reset(self, instruction: str, seed: int) -> None:
        """Start an episode. The policy is deterministic: the seed is not used."""
        if self.card.words:
            self._words = embed(instruction)
        self._past.clear()
        self._chunk, self._at = {}, 0

    def act(self, observation: Signals) -> Signals:
        """The next command of the chunk; a new chunk when it is time."""
        self._past.appendleft(
            {name: np.array(observation[name], np.float32) for name in self.card.reads}
        )
        if not self._chunk or self._at >= self.card.execute:
            self._chunk, self._at = self._blend(self._predict(observation)), 0
        at, self._at = self._at, self._at + 1
        return {name: commands[at] for name, commands in self._chunk.items()}

    def _predict(self, observation: Signals) -> dict[str, Array]:
        last = len(self._past) - 1
        windows = [self._past[min(lag, last)] for lag in self.card.lags]
        feed: dict[str, Array] = {
            name: np.stack([window[name] for window in windows]) for name in self.card.reads
        }
        feed |= {name: np.ascontiguousarray(observation[name]) for name in self.card.pictures}
        if self.card.words:
            feed[INSTRUCTION] = self._words
        found = self._session.run(self._outputs, feed)
        # float64, as worlds declare their commands.
        return {
            name: np.asarray(chunk, np.float64)
            for name, chunk in zip(sorted(self.card.acts), found, strict=True)
        }

    def _blend(self, new: dict[str, Array]) -> dict[str, Array]:
        """Fade the new chunk in over what is left of the old one, so that commands do not jump."""
        left = min(self.card.blend, self.card.chunk - self._at)
        if not self._chunk or left < 1:
            return new
        share = np.arange(1, left + 1) / (left + 1)
        for name, chunk in new.items():
            old = self._chunk[name][self._at : self._at + left]
            part = share.reshape(-1, *[1] * (chunk.ndim - 1))
            chunk[:left] = part * chunk[:left] + (1 - part) * old
        return new


def _check_fits(session: InferenceSession, card: Card, path: Path) -> None:
    """A card that says something else than its graph is not to be trusted."""
    lags = len(card.lags)
    inputs = {name: [lags, *shape] for name, shape in card.reads.items()}
    inputs |= {name: list(shape) for name, shape in card.pictures.items()}
    if card.words:
        inputs[INSTRUCTION] = [card.words]
    outputs = {f"act/{name}": [card.chunk, *shape] for name, shape in card.acts.items()}
    found_in = {value.name: list(value.shape) for value in session.get_inputs()}
    found_out = {value.name: list(value.shape) for value in session.get_outputs()}
    sane = 1 <= card.execute <= card.chunk and card.blend >= 0 and card.words in (0, WORDS)
    if not sane or not card.lags or min(card.lags) < 0:
        raise UsageError(f"{path}: its card asks for what cannot be run. Export it again.")
    if inputs != found_in or outputs != found_out:
        raise IntegrityError(
            f"{path}: its card names {inputs} and {outputs}, its graph has {found_in} and "
            f"{found_out}. Export it again."
        )
