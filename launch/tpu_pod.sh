#!/bin/bash
# Trains on a Cloud TPU slice of several hosts, from a machine that has gcloud and this checkout.
#
#   launch/tpu_pod.sh setup                                   copies the last commit to every host and installs it
#   launch/tpu_pod.sh train --config experiments/dcgan.py:lsun --workdir /mnt/runs/lsun
#   launch/tpu_pod.sh log                                     follows what the first host prints
#   launch/tpu_pod.sh stop                                    asks the training to save and leave
#
# Everything after `train` goes to launch/main.py. The same command continues a run that was stopped. The workdir must be
# on a disk that every host has mounted for reading and writing, such as Filestore.
#
# Edit these, or set them in the environment:
TPU="${TPU:-my-tpu}"            # name of the TPU VM
ZONE="${ZONE:-us-central2-b}"   # where it is
PROJECT="${PROJECT:-}"          # of Google Cloud; empty: the one that gcloud is configured for
FOLDER="${FOLDER:-gan_jax}"     # on the hosts, in the home folder
PYTHON="${PYTHON:-3.12}"        # version to install there
EXTRA="${EXTRA:-tpu}"           # extra of the package to install

set -euo pipefail

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

place=(--zone="$ZONE")
if [[ -n "$PROJECT" ]]; then
    place+=(--project="$PROJECT")
fi

on() { # on WORKER COMMAND
    gcloud compute tpus tpu-vm ssh "$TPU" "${place[@]}" --worker="$1" --command="$2"
}

setup() {
    local archive
    archive="$(mktemp -d)/gan_jax.tar.gz"
    git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:gan_jax.tar.gz" "${place[@]}" --worker=all
    on all "set -e; mkdir -p $FOLDER; tar -xzf gan_jax.tar.gz -C $FOLDER; cd $FOLDER
        command -v ~/.local/bin/uv > /dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
        ~/.local/bin/uv venv --allow-existing --python $PYTHON .venv
        ~/.local/bin/uv pip install --python .venv/bin/python -e '.[$EXTRA]'"
}

train() {
    local arguments
    arguments="$(printf '%q ' "$@")"
    # Detached, so that training does not end with this connection.
    on all "cd $FOLDER; nohup .venv/bin/python launch/main.py --distributed $arguments > train.log 2>&1 < /dev/null &
        echo \$! > train.pid"
    echo "started; follow it with: $0 log"
}

command="${1:-}"
[[ $# -gt 0 ]] && shift
case "$command" in
setup) setup ;;
train)
    if [[ $# -eq 0 ]]; then
        usage >&2
        exit 2
    fi
    train "$@"
    ;;
log) on 0 "tail -n 50 -f $FOLDER/train.log" ;;
stop) on all "kill -TERM \$(cat $FOLDER/train.pid)" ;;
-h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
