#!/usr/bin/env bash
# Start docker/compose.yaml on a Docker engine of its own and look at each of its promises
# (benchmarks/compose.py). Needs root, the packages of docker/engine.sh and, with no images named,
# debootstrap. Where one is missing it says so and ends with status 0, nothing proved.
#
#   BASE       what the image is built on [a Debian 13 made by debootstrap]
#   POSTGRES   an image to be pulled, postgres:17 say [docker/stand-in: that Debian's PostgreSQL 17]
#   WORK       where the base, the images and the logs are kept, about 10 GB [build/compose]
#   OUT        also write what is seen to this file
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${WORK:-build/compose}")
out=${OUT:+$(realpath -m "$OUT")}

skip() { echo "SKIPPED: no compose was started, nothing is proved. $*" >&2; exit 0; }
need() { command -v "$1" > /dev/null || skip "$1 is missing: apt-get install $2, of Debian 13"; }
[ "$(id -u)" = 0 ] || skip "Root is needed: sudo make test-compose"
need dockerd docker.io
need docker docker-cli
need slirp4netns slirp4netns
need nsenter util-linux
need curl curl
docker compose version > /dev/null 2>&1 || skip "docker compose is missing: apt-get install docker-compose"
[ -n "${BASE:-}" ] && [ -n "${POSTGRES:-}" ] || need debootstrap debootstrap

images() {
  if [ -z "${BASE:-}" ] || [ -z "${POSTGRES:-}" ]; then
    docker image inspect local-base > /dev/null 2>&1 \
      || tar --one-file-system -cC "$work/base" . | docker import - local-base
  fi
  if [ -z "${POSTGRES:-}" ]; then
    DOCKER_BUILDKIT=0 docker build --build-arg BASE=local-base --tag postgres:17 docker/stand-in
  else
    docker pull "$POSTGRES" && docker tag "$POSTGRES" postgres:17
  fi
}

if [ "${1:-}" = --inside ]; then
  images > "$work/images.log" 2>&1 || { cat "$work/images.log" >&2; exit 1; }
  exec "$2" benchmarks/compose.py "$work" --base "${BASE:-local-base}" \
    --database "${POSTGRES:-docker/stand-in}" ${out:+--out "$out"}
fi
[ -n "${BASE:-}" ] && [ -n "${POSTGRES:-}" ] || bash docker/local_base.sh "$work/base" trixie
# A copy of the tree: the proof makes secrets of its own.
rm -rf "$work/project"
mkdir -p "$work/project"
tar -c --exclude=docker/secrets --exclude=__pycache__ --exclude='*.egg-info' .dockerignore README.md \
  LICENSE pyproject.toml requirements-server.lock benchmarks/compose*.py docker gni models sweeps \
  | tar -xC "$work/project"
python=$PWD/.venv/bin/python
cd "$work/project"
DATA=$work/engine bash docker/engine.sh bash docker/test_compose.sh --inside "$python"
