"""Instructions as vectors, without a learned vocabulary: hashed words and pieces of words."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

WORDS = 96
"""Length of the vector of an instruction."""


def embed(instruction: str) -> NDArray[np.float32]:
    """(`WORDS`,) float32 of length 1: the hashed bag of words and letter trigrams.

    Each lower-case word, and each trigram of ``<word>``, is hashed (SHA-256) to a place and a
    sign; a word counts as much as all its trigrams together. So paraphrases that share words,
    or only stems ("shelf", "shelves"), lie near each other, and any text has a vector: nothing
    is looked up, learned or downloaded. The order of the words is not seen. "" is all zero.
    """
    total = np.zeros(WORDS)
    for word in re.findall(r"\w+", instruction.lower()):
        marked = f"<{word}>"
        pieces = [marked[i : i + 3] for i in range(len(marked) - 2)]
        _add(total, f"word {word}", 1.0)
        for piece in pieces:
            _add(total, piece, 1.0 / len(pieces))
    return (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)


def _add(total: NDArray[np.float64], feature: str, weight: float) -> None:
    number = int.from_bytes(hashlib.sha256(feature.encode()).digest()[:8], "little")
    total[(number >> 1) % WORDS] += weight if number & 1 else -weight
