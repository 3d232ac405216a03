#!/usr/bin/env bash
# Run a command beside a Docker engine of its own, in namespaces of its own: it meets no other
# container, port or firewall rule of this machine, and ends with the command. Needs root and the
# programs of Debian 13's docker.io, docker-cli, docker-compose and slirp4netns.
#
#   DATA=FOLDER bash docker/engine.sh COMMAND…    FOLDER keeps its images [build/engine]
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  data=$(realpath -m "${DATA:-build/engine}")
  name=engine-$$
  mkdir -p "$data"
  exec 9> "$data/lock"
  flock 9  # one engine at a time has its images
  ip netns add "$name"
  # The way out, in user space: no rule or address of the machine is changed for it.
  slirp4netns --configure --mtu=65520 --disable-host-loopback --netns-type=path \
    "/run/netns/$name" tap0 > "$data/network.log" 2>&1 &
  network=$!
  trap 'kill $network; ip netns del "$name"' EXIT
  nsenter --net="/run/netns/$name" \
    unshare --mount --pid --ipc --uts --fork --kill-child --mount-proc \
    bash "$0" --inside "$data" "$@"
  exit
fi

data=$2
shift 2
mount --make-rprivate /
resolv=$(realpath -m /etc/resolv.conf)
mount -t tmpfs engine /run
mkdir -p "$(dirname "$resolv")"
[ -e "$resolv" ] || touch "$resolv"
echo 'nameserver 10.0.2.3' > /run/resolv.engine
mount --bind /run/resolv.engine "$resolv"
ip link set lo up
for _ in $(seq 50); do ip -o address show dev tap0 2> /dev/null | grep -q inet && break; sleep 0.1; done

export DOCKER_HOST=unix:///run/docker.sock
dockerd --data-root "$data/data" --host "$DOCKER_HOST" > "$data/dockerd.log" 2>&1 &
engine=$!
for _ in $(seq 60); do
  docker info > /dev/null 2>&1 && break
  kill -0 $engine 2> /dev/null || { tail -5 "$data/dockerd.log" >&2; exit 1; }
  sleep 1
done
status=0
"$@" || status=$?
kill $engine
wait $engine || true
exit $status
