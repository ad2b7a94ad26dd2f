"""What a person is shown: the evidence report, videos and plots."""

from fabrika.release._film import encode_h264, film
from fabrika.release._gallery import clip, gallery_page, gallery_table, poster, with_table
from fabrika.release._plots import plot_episode
from fabrika.release._report import report
from fabrika.release._words import claim_words, verdict_words

__all__ = [
    "claim_words",
    "clip",
    "encode_h264",
    "film",
    "gallery_page",
    "gallery_table",
    "plot_episode",
    "poster",
    "report",
    "verdict_words",
    "with_table",
]
