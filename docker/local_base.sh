#!/usr/bin/env bash
# Make a folder with a small Debian that the images can be built on where no image can be pulled.
# Needs root and `apt-get install debootstrap`.
#
#   bash docker/local_base.sh FOLDER [SUITE]    SUITE is this machine's own, or bookworm, trixie, …
set -euo pipefail
base=$1
suite=${2:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
[ ! -e "$base.done" ] || exit 0
rm -rf "$base"
mkdir -p "$(dirname "$base")"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$base" > "$base.log"
# This machine may reach the registries through a proxy with a certificate of its own.
cp -r /usr/local/share/ca-certificates "$base/usr/local/share/"
chroot "$base" update-ca-certificates >> "$base.log" 2>&1
mkdir -p "$base/etc/uv"
echo 'native-tls = true' > "$base/etc/uv/uv.toml"
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$base/etc/pip.conf"
touch "$base.done"
