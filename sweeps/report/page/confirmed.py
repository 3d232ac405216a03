"""The place of the confirmation on the page: what fresh seeds and unseen data say."""

from __future__ import annotations

from sweeps.report.page.layout import Section
from sweeps.report.results import Sweep


def confirmed(sweep: Sweep) -> Section | None:
    """The verdict of a confirmation, its arms and paired comparisons; None without one."""
    return None
