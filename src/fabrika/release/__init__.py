"""What a person is shown: the evidence report, videos and plots."""

from fabrika.release._film import encode_h264, film
from fabrika.release._plots import plot_episode
from fabrika.release._report import report
from fabrika.release._words import claim_words, verdict_words

__all__ = ["claim_words", "encode_h264", "film", "plot_episode", "report", "verdict_words"]
