#!/bin/sh
# Make the secrets of docker/compose.yaml, once: each a file of mode 0600 in docker/secrets/, or in
# the folder given. They stay on this machine: neither git nor the image takes that folder. Made by
# root they are given to the containers' user, USER_ID [1000], who could not read them else.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
cd "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
for name in ray_token postgres_password mlflow_key; do
  [ -s $name ] || random > $name
done
[ -s mlflow_credentials ] || cat > mlflow_credentials <<END
[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = $(random)
END
[ "$(id -u)" != 0 ] || chown "${USER_ID:-1000}" ray_token postgres_password mlflow_key mlflow_credentials
