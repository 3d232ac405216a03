"""What a sweep's confirmation found: each arm on test data, each compared with the baselines.

    found = confirmation(sweep)      None without `confirm:` in the spec
    found.arms                       the top configurations, best on validation first; baselines
    found.comparisons                every top configuration with every baseline, once all ended
    found.verdict                    one sentence
    found.missing                    what a reader would look for and not find

All of it is a function of the journal alone. Values are of the test metric as it was recorded; a
reader wants differences of accuracies times 100, as percentage points.
"""

from __future__ import annotations

from sweeps.confirmed.arms import Arm, Comparison
from sweeps.confirmed.found import Confirmation, confirmation_of
from sweeps.report.results import Sweep
from sweeps.statistics import Interval

__all__ = ["Arm", "Comparison", "Confirmation", "Interval", "confirmation"]


def confirmation(sweep: Sweep) -> Confirmation | None:
    """What the confirmation of `sweep` has found so far; None when its spec asks for none."""
    return confirmation_of(sweep.state)
