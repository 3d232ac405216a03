"""`python -m sweeps.report FOLDER` writes the report of the sweep in that folder."""

from __future__ import annotations

import sys
from pathlib import Path

from sweeps.report.write import write

write(Path(sys.argv[1]))
