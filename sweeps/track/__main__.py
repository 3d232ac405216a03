"""`python -m sweeps.track SWEEP_FOLDER`: project that sweep to MLflow until stdin is closed.

With stdin closed (`</dev/null`) it delivers what the folder holds and exits: 0 when all was
delivered, 1 when not.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.track.launcher import STORE_HINT


def _close_at_end_of_input(closing: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    closing.set()


def main(arguments: list[str]) -> int:
    """Follow the sweep in the folder given; see the module's docstring for the exit status."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s tracker: %(message)s")
    closing = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: closing.set())
    threading.Thread(target=_close_at_end_of_input, args=(closing,), daemon=True).start()
    os.nice(5)  # on two cores the driver's start and the training go first

    gc.disable()  # importing makes no garbage, yet a seventh of its time would go to looking for it
    from sweeps.track import tracker

    tracker.import_mlflow()
    gc.freeze()
    gc.enable()
    try:
        return 0 if tracker.follow(Path(arguments[0]), closing, os.environ.get(STORE_HINT)) else 1
    except SweepError as error:
        logging.error("%s", error)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
