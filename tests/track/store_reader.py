"""Reads MLflow's sqlite file directly, to see all that a delivery left in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def rows(database: Path, query: str, *arguments) -> list[tuple]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query, arguments).fetchall()
    finally:
        connection.close()


def everything(database: Path) -> dict[str, list[tuple]]:
    """All rows about runs, by run name instead of run id."""
    named = "FROM {} JOIN runs USING (run_uuid) WHERE runs.lifecycle_stage = 'active'"
    return {
        "runs": sorted(
            rows(
                database,
                "SELECT name, status, start_time, end_time FROM runs "
                "WHERE lifecycle_stage = 'active'",
            )
        ),
        "metrics": sorted(
            rows(database, f"SELECT name, key, step, timestamp, value {named.format('metrics')}")
        ),
        "latest": sorted(
            rows(database, f"SELECT name, key, step, value {named.format('latest_metrics')}")
        ),
        "params": sorted(rows(database, f"SELECT name, key, value {named.format('params')}")),
        "tags": sorted(
            rows(
                database,
                f"SELECT name, key, value {named.format('tags')} "
                "AND key NOT IN ('mlflow.parentRunId')",
            )
        ),
    }


def statuses(database: Path) -> dict[str, str]:
    query = "SELECT name, status FROM runs WHERE lifecycle_stage = 'active'"
    return dict(rows(database, query))
