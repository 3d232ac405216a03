"""A training that hangs is ended where it hangs, by force if need be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sweeps.errors import TrialSilent
from sweeps.trial import stop
from sweeps.trial.watchdog import KILLED, Watchdog

SHORT = 0.2 / 60


def test_silence_is_interrupted_where_it_is() -> None:
    dog = Watchdog(SHORT)
    with pytest.raises(TrialSilent, match="nothing was reported for"), dog:
        threading.Event().wait(30)
    with dog:  # and it watches again
        time.sleep(0)


def test_beats_and_pauses_keep_it_quiet() -> None:
    dog = Watchdog(SHORT)
    with dog:
        for _ in range(8):
            time.sleep(SHORT * 60 / 4)
            dog.beat()
    time.sleep(2 * SHORT * 60)  # nothing is trained here
    with dog:
        pass


def test_without_minutes_nothing_is_watched() -> None:
    with Watchdog(None) as dog:
        dog.beat()


def test_what_does_not_listen_is_ended() -> None:
    script = f"""
import signal
from sweeps.trial import watchdog
watchdog.PATIENCE_S = 0.1
with watchdog.Watchdog({SHORT}):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    def a_call_that_hangs():
        while True:
            pass
    a_call_that_hangs()
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == KILLED
    assert b"a_call_that_hangs" in done.stderr


def test_a_request_is_seen_until_it_is_withdrawn(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stop, "LOOK_S", 0.0)
    asked = stop.Stop(tmp_path)
    assert not asked()
    stop.request(tmp_path)
    assert asked()
    stop.withdraw(tmp_path)
    stop.withdraw(tmp_path)
    assert not asked()


def test_sigterm_is_a_request_while_training(tmp_path) -> None:
    asked = stop.Stop(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked() and asked.terminated
    finally:
        signal.signal(signal.SIGTERM, before)
