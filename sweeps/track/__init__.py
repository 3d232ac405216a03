"""MLflow: a projection of the sweep's folder.

`launcher` starts the tracker beside the driver, `tracker` follows the journal, `projection` makes
MLflow hold what the journal says, `ui` shows it. Only `projection` and `tracker` import MLflow.
"""
