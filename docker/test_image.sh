#!/usr/bin/env bash
# Build docker/Dockerfile where no engine is, and look at what came out. Needs root and, from Debian,
# `apt-get install buildah debootstrap`. The steps and the proofs run in a chroot, not a container.
#
#   REQUIREMENTS   what is installed [docker/small.txt]; requirements-server.lock: the whole image
#   WORK           where the base and the layers are kept [build/image]
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=${REQUIREMENTS:-docker/small.txt}
work=$(realpath -m "${WORK:-build/image}")
base=$work/base

need() { command -v "$1" > /dev/null || { echo "error: $1 is missing: apt-get install $1" >&2; exit 2; }; }
[ "$(id -u)" = 0 ] || { echo "error: root is needed: every step of a build is a chroot" >&2; exit 2; }
need buildah
need debootstrap

engine() { buildah --storage-driver vfs --root "$work/layers" --runroot "$work/run" "$@"; }

import_base() {
  local container
  container=$(engine from scratch)
  engine add -q "$container" "$base" / > /dev/null
  engine commit -q "$container" local-base > /dev/null
  engine rm "$container" > /dev/null
}

inside() { engine run --isolation chroot "$container" -- "$@"; }

mkdir -p "$work"
bash docker/local_base.sh "$base"
engine inspect --type image local-base > /dev/null 2>&1 || import_base
engine bud -q --isolation chroot --pull=never --format docker -f docker/Dockerfile -t swept \
  --build-arg BASE=local-base --build-arg "REQUIREMENTS=$requirements" . > /dev/null

container=$(engine from --pull=never swept)
trap 'engine rm "$container" > /dev/null' EXIT
root=$(engine mount "$container")
echo "image      $(du -sm --apparent-size "$root" | cut -f1) MB, of it base $(du -sm --apparent-size "$base" | cut -f1) MB, with $requirements"
echo "user       $(inside id)"
[ "$(inside id -u)" != 0 ]
echo "writable   /opt/venv: $(inside sh -c 'test -w /opt/venv && echo yes || echo no'), /sweeps: $(inside sh -c 'test -w /sweeps && echo yes || echo no')"
inside sh -c '! test -w /opt/venv && test -w /sweeps && test -w /artifacts'
echo "health     $(engine inspect --type image --format '{{.Docker.Config.Healthcheck.Test}}' swept)"
echo "login      $(inside bash --login -c 'command -v sweeps')"
found=$(grep -rl --exclude='*.py*' -e '-----BEGIN .*PRIVATE KEY' "$root/opt" "$root/home" "$root/root" || true)
echo "secrets    ${found:-none in /opt, /home and /root}"
[ -z "$found" ] && [ ! -e "$root/opt/build" ]
inside sweeps --help
config=$(cd "$root" && echo opt/venv/lib/python3.*/site-packages/sweeps/configs/digits.yaml)
inside sweeps check "/$config"

[ -e "$root/opt/venv/bin/ray" ] || { echo "ray        not in this set: no head was started"; exit; }
# A head as compose.yaml starts it, in namespaces where it sees and can reach nothing else.
cat > "$root/tmp/head.sh" <<END
set -eu
ray start --head --port=6379 > /tmp/refused 2>&1 && { echo "Ray started without a token"; exit 1; }
echo "no token   \$(grep -i token /tmp/refused | tail -1)"
umask 077
mkdir ~/.ray && od -An -N32 -tx1 /dev/urandom | tr -d ' \\n' > ~/.ray/auth_token
ray start --head --port=6379 > /tmp/started 2>&1
pgrep -x raylet > /dev/null && echo "token      a head runs, the health check says well"
sweeps run /$config --storage /sweeps --address 127.0.0.1:6379
END
export -f engine inside
export work container
unshare --pid --net --fork --kill-child --mount-proc bash -ec 'ip link set lo up; inside bash /tmp/head.sh'
