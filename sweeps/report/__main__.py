"""`python -m sweeps.report FOLDER` writes the report of the sweep in that folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sweeps.report.write import write

begun = time.monotonic()
place = write(Path(sys.argv[1]))
print(f"{place} written in {time.monotonic() - begun:.1f} s")
