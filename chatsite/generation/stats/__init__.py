"""Figures over many requests: percentiles, shares and throughput, by time and by model.

From the requests' own rows while they are few, else from roll-ups of them that a periodic task
makes (roll_up.py). A figure over no requests is None, which pages show as "no data".
"""

from chatsite.generation.stats.board import LISTED, board, now_in_states
from chatsite.generation.stats.read import first_received
from chatsite.generation.stats.results import ERRORS, UNFINISHED, Board, Bucket, Group, Phases
from chatsite.generation.stats.selection import Selection
from chatsite.generation.stats.summary import ROUGH_P99_BELOW, Summary, percentile, share

__all__ = [
    "ERRORS",
    "LISTED",
    "ROUGH_P99_BELOW",
    "UNFINISHED",
    "Board",
    "Bucket",
    "Group",
    "Phases",
    "Selection",
    "Summary",
    "board",
    "first_received",
    "now_in_states",
    "percentile",
    "share",
]
