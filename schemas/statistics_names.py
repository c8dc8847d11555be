"""Names that a plant file's statistics use in more than one place."""

from __future__ import annotations

from typing import Literal

RunRuleName = Literal[
    "beyond_3_sigma",
    "two_of_three_beyond_2_sigma",
    "four_of_five_beyond_1_sigma",
    "eight_on_one_side",
    "nine_on_one_side",
    "six_rising_or_falling",
    "fourteen_alternating",
    "fifteen_within_1_sigma",
    "eight_beyond_1_sigma_both_sides",
]
"""What each costs in false alarms is in docs/statistics.md."""
