"""Which file of a labelled archive is whose signature: the layout is detected, and what does not fit is listed."""

from worker.ml.layouts.detection import detect
from worker.ml.layouts.found import Layout, Pair, Sample, Skipped, count_writers
from worker.ml.layouts.names import IMAGE_SUFFIXES
from worker.ml.layouts.tables import MAX_TABLE, ReadTable

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_TABLE",
    "Layout",
    "Pair",
    "ReadTable",
    "Sample",
    "Skipped",
    "count_writers",
    "detect",
]
