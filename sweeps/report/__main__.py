"""`python -m sweeps.report FOLDER` writes the report of the sweep in that folder.

With `--when-told` it gets ready, at a low priority, and writes when its input says so.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sweeps.report.launcher import GO, WAITING
from sweeps.report.write import write

if WAITING in sys.argv:
    os.nice(5)
    import sweeps.report.figures
    import sweeps.report.page.build  # noqa: F401

    if sys.stdin.buffer.readline() != GO:
        sys.exit()
begun = time.monotonic()
place = write(Path(sys.argv[1]))
print(f"{place} written in {time.monotonic() - begun:.1f} s")
