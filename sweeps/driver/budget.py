"""What is left of a sweep's budget, counted from its journal."""

from __future__ import annotations

from sweeps.state import State


def may_train(state: State, busy: int) -> bool:
    """Whether one more epoch may begin beside the `busy` ones that are being trained."""
    assert state.spec is not None
    limit = state.spec.budget.max_epochs
    return limit is None or state.epochs + busy < limit


def used_up(state: State, live: set[int], now: float) -> str:
    """Which budget of time is used up at `now` (Unix seconds), in words; empty while none is.

    Args:
        state: of a sweep whose driver runs.
        live: trials that are being trained.
        now: the time.
    """
    assert state.spec is not None
    budget = state.spec.budget
    hours = (state.seconds + (now - state.updated if state.sessions else 0.0)) / 3600
    if budget.max_hours is not None and hours >= budget.max_hours:
        return f"budget.max_hours of {budget.max_hours:g} is used up"
    running = sum(now - _last(state, number) for number in live)
    if budget.max_gpu_hours is not None and gpu_hours(state, running) >= budget.max_gpu_hours:
        return f"budget.max_gpu_hours of {budget.max_gpu_hours:g} is used up"
    return ""


def gpu_hours(state: State, running: float = 0.0) -> float:
    """Hours of trials times their GPUs, with those of live trials since their last records."""
    return _gpus(state) * (state.trial_seconds + running) / 3600


def _gpus(state: State) -> float:
    """GPUs a trial; where the spec leaves them to be measured, what the last driver found."""
    assert state.spec is not None
    found = (
        record["gpus_per_trial"]
        for record in reversed(state.sessions)
        if "gpus_per_trial" in record
    )
    return next(found, state.spec.resources.gpus)


def _last(state: State, number: int) -> float:
    trial = state.trials[number]
    times = [record["time"] for record in (*trial.attempts[-1:], *trial.results[-1:])]
    return max(times)
