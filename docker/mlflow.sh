#!/bin/sh
# MLflow's server over PostgreSQL, behind a password. Each secret is read from a file and handed on
# in the environment or in a file that only this user can read, so that no argument shows it.
#
#   POSTGRES         HOST:PORT of a PostgreSQL with a user and a database `mlflow` [postgres:5432]
#   SECRETS          folder of postgres_password, mlflow_credentials and mlflow_key [/run/secrets]
#   ARTIFACTS        a folder or s3://BUCKET/PREFIX [/artifacts]
#   MLFLOW_HOST      where it listens [127.0.0.1]; anywhere else only behind a port on loopback
#   MLFLOW_PORT      [5000]
#   MLFLOW_NAMES     what clients may call it, as HOST:PORT, with commas [localhost, 127.0.0.1]
set -eu
secrets=${SECRETS:-/run/secrets}
port=${MLFLOW_PORT:-5000}
setting() { sed -n "s/^$1 *= *//p" "$secrets/mlflow_credentials"; }

store=postgresql://mlflow:$(cat "$secrets/postgres_password")@${POSTGRES:-postgres:5432}/mlflow
MLFLOW_BACKEND_STORE_URI=$store
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$secrets/mlflow_key")
MLFLOW_AUTH_ADMIN_USERNAME=$(setting mlflow_tracking_username)
MLFLOW_AUTH_ADMIN_PASSWORD=$(setting mlflow_tracking_password)
umask 077
MLFLOW_AUTH_CONFIG_PATH=$(mktemp -d)/auth.ini
export MLFLOW_BACKEND_STORE_URI MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH
export MLFLOW_AUTH_ADMIN_USERNAME MLFLOW_AUTH_ADMIN_PASSWORD

# Without the cache each call would hash the password anew, a quarter of a second.
cat > "$MLFLOW_AUTH_CONFIG_PATH" <<END
[mlflow]
database_uri = $store
default_permission = NO_PERMISSIONS
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
END

# A worker that needs longer than its usual 5 s to import MLflow would be killed again and again.
exec mlflow server --app-name basic-auth --workers "${MLFLOW_WORKERS:-2}" \
  --host "${MLFLOW_HOST:-127.0.0.1}" --port "$port" \
  --artifacts-destination "${ARTIFACTS:-/artifacts}" \
  --allowed-hosts "${MLFLOW_NAMES:-localhost:$port,127.0.0.1:$port}" \
  --uvicorn-opts=--timeout-worker-healthcheck=120
