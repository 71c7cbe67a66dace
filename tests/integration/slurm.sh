#!/usr/bin/env bash
# A real Slurm with one node, on loopback, for tests:   slurm.sh start DIRECTORY | slurm.sh stop DIRECTORY
# CPUS is how many the node says it has. Prints what is missing and ends with 77 where Slurm cannot be installed or started.
set -euo pipefail
action=$1 directory=$2
conf=$directory/slurm.conf

skip() { echo "no Slurm: $*"; exit 77; }

install_packages() {
    command -v slurmctld >/dev/null && command -v munged >/dev/null && return
    [ "$(id -u)" = 0 ] || skip "slurm-wlm and munge are not installed, and only root can install them"
    command -v apt-get >/dev/null || skip "slurm-wlm and munge are not installed, and there is no apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >"$directory/apt.log" 2>&1 ||
        skip "apt-get could not install slurm-wlm and munge: $(tail -1 "$directory/apt.log")"
}

start() {
    mkdir -p "$directory"/{state,spool,munge}
    install_packages
    [ "$(id -u)" = 0 ] || skip "its daemons are started by root"
    chmod 755 "$directory" && chmod 700 "$directory/munge"
    dd if=/dev/urandom of="$directory/munge/key" bs=128 count=1 status=none && chmod 400 "$directory/munge/key"
    munged --force --key-file="$directory/munge/key" --socket="$directory/munge.socket" --pid-file="$directory/munge/pid" \
        --log-file="$directory/munge/log" --seed-file="$directory/munge/seed" || skip "munged does not start: $(tail -1 "$directory/munge/log")"
    local cpus name
    cpus=${CPUS:-$(env -u OMP_NUM_THREADS nproc)} name=$(hostname -s)
    cat >"$conf" <<CONF
ClusterName=palirs
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$((20000 + RANDOM % 10000))
SlurmdPort=$((30000 + RANDOM % 2000))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$directory/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=2
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/spool
SlurmctldPidFile=$directory/slurmctld.pid
SlurmdPidFile=$directory/slurmd.pid
SlurmctldLogFile=$directory/slurmctld.log
SlurmdLogFile=$directory/slurmd.log
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=4000
PartitionName=test Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$conf
    slurmctld -f "$conf" || skip "slurmctld does not start: $(tail -1 "$directory/slurmctld.log")"
    slurmd -f "$conf" -N "$name" || skip "slurmd does not start: $(tail -1 "$directory/slurmd.log")"
    for _ in $(seq 60); do
        sinfo --noheader --format=%t 2>/dev/null | grep -q -E "idle|alloc|mix" && return
        sleep 0.5
    done
    skip "the node does not come up: $(sinfo --noheader 2>&1 | tail -1); $(tail -1 "$directory/slurmd.log")"
}

stop() {
    export SLURM_CONF=$conf
    scancel --me 2>/dev/null || true
    sleep 1
    for pid in "$directory"/slurmctld.pid "$directory"/slurmd.pid "$directory"/munge/pid; do
        [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    done
}

"$action"
