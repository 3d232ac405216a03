#!/usr/bin/env bash
# Claim: docs/slurm.sbatch runs a sweep over two nodes of a real Slurm, behind a token; stopped as by
# its time limit and sent again, it goes on and ends.
#
#   bash benchmarks/slurm.sh
#
# Needs root and Debian's slurmctld, slurmd, slurm-client and munge. The nodes are namespaces of this
# machine (network, processes, host name, /tmp), joined by a cable of their own; the storage is shared.
set -euo pipefail
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d /var/tmp/slurm-XXXXXX)
names=(sweep-node-a sweep-node-b)

need() { command -v "$1" > /dev/null || { echo "error: $1 is missing: apt-get install $2" >&2; exit 2; }; }
[ "$(id -u)" = 0 ] || { echo "error: root is needed, for namespaces" >&2; exit 2; }
need slurmctld slurmctld; need slurmd slurmd; need sbatch slurm-client; need munged munge

finish() {
  for pid in $(jobs -p); do disown "$pid" 2> /dev/null || true; kill -9 "$pid" 2> /dev/null || true; done
  for name in "${names[@]}"; do ip netns del "$name" 2> /dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

for name in "${names[@]}"; do ip netns add "$name"; ip -n "$name" link set lo up; done
ip link add sweep-a type veth peer name sweep-b
ip link set sweep-a netns "${names[0]}"; ip link set sweep-b netns "${names[1]}"
ip -n "${names[0]}" addr add 10.213.7.1/24 dev sweep-a; ip -n "${names[0]}" link set sweep-a up
ip -n "${names[1]}" addr add 10.213.7.2/24 dev sweep-b; ip -n "${names[1]}" link set sweep-b up

cat > "$work/hosts" <<END
127.0.0.1 localhost
10.213.7.1 ${names[0]}
10.213.7.2 ${names[1]}
END
cat > "$work/slurm.conf" <<END
ClusterName=sweeps
SlurmctldHost=${names[0]}
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
StateSaveLocation=/tmp/state
SlurmdSpoolDir=/tmp/spool
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd-%n.log
NodeName=${names[0]},${names[1]} CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
# slurmd wants to see the kernel's control groups, of whichever version this machine has.
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || echo CgroupPlugin=cgroup/v1 > "$work/cgroup.conf"
head -c 256 /dev/urandom > "$work/munge.key"; chmod 400 "$work/munge.key"

cat > "$work/node.sh" <<'END'
set -eu
name=$1 work=$2 root=$3
hostname "$name"
mkdir -p "$work/tmp-$name$root" /etc/slurm
mount --bind "$root" "$work/tmp-$name$root" 2> /dev/null || true
case $root in /tmp/*) mount --rbind "$work/tmp-$name/tmp" /tmp;; *) mount -t tmpfs none /tmp;; esac
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
if [ -s "$work/cgroup.conf" ]; then
  mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/freezer
  mount -t cgroup -o freezer none /sys/fs/cgroup/freezer
else
  mount -t cgroup2 none /sys/fs/cgroup
fi
mount --bind "$work/hosts" /etc/hosts
mount -t tmpfs none /etc/slurm
cp "$work"/*.conf /etc/slurm/
mkdir -p /run/munge /tmp/state /tmp/spool
munged --force --key-file="$work/munge.key" --socket=/run/munge/munge.socket.2 \
  --pid-file=/run/munge/pid --log-file="/run/munge/log" --seed-file=/run/munge/seed
[ "$name" != sweep-node-a ] || slurmctld
slurmd
if [ "$name" = sweep-node-a ]; then
  until sinfo -h -o %D:%t 2> /dev/null | grep -q 2:idle; do sleep 1; done
  cd "$work"
  export SWEEPS_BIN=$root/.venv/bin SWEEPS_STORAGE=$work/sweeps
  send() { sbatch --parsable --cpus-per-task=1 --output="$work/job-%j.log" "$@" "$work/digits.yaml"; }
  first=$(send "$root/docs/slurm.sbatch")
  until grep -q '"kind":"result"' sweeps/on-slurm/journal.jsonl 2> /dev/null; do sleep 0.2; done
  scancel --batch --signal=TERM "$first"
  while squeue -h | grep -q .; do sleep 1; done
  tail -n 1 sweeps/on-slurm/journal.jsonl > stopped
  send --wait "$root/docs/slurm.sbatch" > second && echo 0 > status || echo $? > status
else
  sleep infinity
fi
END
sed 's/^name: .*/name: on-slurm/; s/trials: 32/trials: 24/' "$root/sweeps/configs/digits.yaml" > "$work/digits.yaml"

for name in "${names[1]}" "${names[0]}"; do
  ip netns exec "$name" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    bash "$work/node.sh" "$name" "$work" "$root" > "$work/$name.log" 2>&1 &
done
wait $! || { cat "$work"/*.log >&2; exit 1; }
status=$(cat "$work/status")
[ "$status" = 0 ] || { tail -n 40 "$work"/job-*.log "$work"/slurm*.log >&2; exit 1; }
log=$work/job-$(cat "$work/second").log
echo "first job      $(grep -o '"state":"[a-z]*"' "$work/stopped")"
echo "second job     exit status $status"
grep -E '^(trials|best)' "$log" | cut -c1-60
echo "epochs by node $(grep -oh '"node":"sweep-node-[ab]"' "$work/sweeps/on-slurm/journal.jsonl" | sort | uniq -c | tr -s ' \n' ' ')"
echo "tokens left    $(find "$work/sweeps" -name token | wc -l)"
