"""What to try next: the spec's space as Optuna's, and the search that is told the truth."""
