"""An exported policy as an actor: ONNX Runtime and NumPy, nothing else."""

from __future__ import annotations

import hashlib
from collections import deque
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import SessionOptions

from fabrika._errors import IntegrityError, UsageError
from fabrika._signals import Array, Signals
from fabrika.learn._card import CARD_KEY, Card, recalled
from fabrika.learn._words import WORDS, embed

INSTRUCTION = "instruction"
_EXTERNAL_WEIGHTS = "session.model_external_initializers_file_folder_path"


def load_policy(path: Path) -> OnnxPolicy:
    """The actor of a ``policy.onnx``.

    Raises `UsageError` if the file is not an ONNX model, keeps weights in other files, has no
    card, or does not fit its card; `VersionError` if another version of Fabrika wrote the card.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror}.") from error
    options = SessionOptions()
    # One thread: sums are then always in one order, and workers do not fight for cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A policy is one file, named by its digest: weights that lie beside it could be exchanged
    # unseen. Nothing lies in this folder, so that the runtime refuses them.
    options.add_session_config_entry(_EXTERNAL_WEIGHTS, "/dev/null/none")
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
    """Looks, predicts a chunk of commands, carries out the first few, and looks again.

    What it commands stays within what the data held, in place and in speed: where it errs, it
    errs at the pace of the expert.
    """

    remark = ""

    def __init__(self, session: InferenceSession, card: Card, digest: str) -> None:
        self.card = card
        self.name = f"policy:{digest[:12]}"
        self.reads = frozenset((*(n for n in card.reads if not recalled(n)), *card.pictures))
        self.task, self.dt = card.task, card.dt
        self._session = session
        self._acts = sorted(card.acts)
        self._words: NDArray[np.float32] = np.zeros(card.words, np.float32)
        self._past: deque[dict[str, Array]] = deque(maxlen=max(card.lags) + 1)
        self._chunks: deque[tuple[int, dict[str, Array]]] = deque()
        self._last: dict[str, Array] = {}
        self._tick = 0
        self._limits = {
            name: {key: np.array(value).reshape(card.acts[name]) for key, value in limits.items()}
            for name, limits in card.limits.items()
        }

    def reset(self, instruction: str, seed: int) -> None:
        """Start an episode. The policy is deterministic: the seed is not used."""
        if self.card.words:
            self._words = embed(instruction)
        self._past.clear()
        self._chunks.clear()
        self._last, self._tick = {}, 0

    def act(self, observation: Signals) -> Signals:
        """The next command, from the chunks that cover this tick; a new chunk when it is time."""
        self._past.appendleft({name: self._read(name, observation) for name in self.card.reads})
        if self._tick % self.card.execute == 0:
            if not self.card.fade:
                self._chunks.clear()
            self._chunks.append((self._tick, self._predict(observation)))
        while self._tick - self._chunks[0][0] >= self.card.chunk:
            self._chunks.popleft()
        newest = self._chunks[-1][0]
        weights = [self.card.fade ** (newest - begun) for begun, _ in self._chunks]
        command: dict[str, Array] = {}
        for name in self._acts:
            terms = [chunk[name][self._tick - begun] for begun, chunk in self._chunks]
            mean = sum(w * term for w, term in zip(weights, terms, strict=True)) / sum(weights)
            command[name] = self._limited(name, np.asarray(mean), observation)
        self._last = command
        self._tick += 1
        return command

    def _limited(self, name: str, command: Array, observation: Signals) -> Array:
        """The command, drawn into the limits; the first one starts from the measured joint."""
        if name not in self._limits:
            return command
        limits = self._limits[name]
        here = self._last.get(name)
        if here is None and f"joint/{name}" in self.card.reads:
            here = np.asarray(observation[f"joint/{name}"], np.float64)
        if here is not None and here.shape == command.shape:
            command = np.clip(command, here - limits["step"], here + limits["step"])
        return np.clip(command, limits["low"], limits["high"])

    def _read(self, name: str, observation: Signals) -> Array:
        """A sensor's reading, or the last command; before the first, the measured joint."""
        act = recalled(name)
        seen = observation[f"joint/{act}" if act else name]
        return np.array(self._last.get(act, seen), np.float32)

    def _predict(self, observation: Signals) -> dict[str, Array]:
        last = len(self._past) - 1
        windows = [self._past[min(lag, last)] for lag in self.card.lags]
        feed: dict[str, Array] = {
            name: np.stack([window[name] for window in windows]) for name in self.card.reads
        }
        feed |= {name: np.ascontiguousarray(observation[name]) for name in self.card.pictures}
        if self.card.words:
            feed[INSTRUCTION] = self._words
        found = self._session.run([f"act/{name}" for name in self._acts], feed)
        # Averaged and limited in double precision; the loop rounds what comes of it, once.
        return {n: np.asarray(c, np.float64) for n, c in zip(self._acts, found, strict=True)}


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
    sane = 1 <= card.execute <= card.chunk and 0 <= card.fade <= 1 and card.words in (0, WORDS)
    sane = sane and bool(card.lags) and min(card.lags) >= 0
    sane = sane and not card.reads.keys() & card.guides.keys()
    for act in filter(None, map(recalled, card.reads)):
        sane = sane and f"joint/{act}" in card.reads
    for name, limits in card.limits.items():
        size = prod(card.acts.get(name, (0,)))
        sane = sane and limits.keys() == {"low", "high", "step"}
        sane = sane and all(len(value) == size for value in limits.values())
        sane = sane and all(a <= b for a, b in zip(limits["low"], limits["high"], strict=True))
        sane = sane and all(step >= 0 for step in limits["step"])
    if not sane:
        raise UsageError(f"{path}: its card asks for what cannot be run. Export it again.")
    if inputs != found_in or outputs != found_out:
        raise IntegrityError(
            f"{path}: its card names {inputs} and {outputs}, its graph has {found_in} and "
            f"{found_out}. Export it again."
        )
