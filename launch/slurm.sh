#!/bin/bash
# Trains on a Slurm cluster. From the root of the checkout, with a workdir on a disk that all nodes see:
#
#   sbatch launch/slurm.sh --config experiments/dcgan.py:lsun --workdir /scratch/runs/lsun
#   sbatch --nodes=8 launch/slurm.sh --config ...        options of sbatch override those below
#   PYTHON=/path/to/python sbatch launch/slurm.sh ...    another interpreter than `python`
#
# Everything after the name of this script goes to launch/main.py. A job that is preempted, or that reaches its time
# limit, saves and is queued again, and then continues from there.
#
#SBATCH --job-name=gan_jax
#SBATCH --nodes=2
# One task for each GPU of a node: JAX gives every task the GPU of its local number, which it must see among the others,
# so GPUs are asked for by node and not by task. On CPU nodes: one task, and no GPUs.
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
# Two minutes to save in. Slurm may send the signal up to a minute earlier.
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

case "${1:-}" in
-h | --help) usage; exit 0 ;;
esac
if [[ $# -eq 0 || -z "${SLURM_JOB_ID:-}" ]]; then
    usage >&2
    exit 2
fi

told=""
trap 'told=yes' TERM # runs when srun, whose tasks get the same signal, has ended
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${PYTHON:-python}" launch/main.py --distributed "$@"
status=$?

end="${SLURM_JOB_END_TIME:-}" # seconds since 1970
if [[ -n "$end" ]] && ((end - $(date +%s) < 200)); then
    told=yes
fi
if [[ -n "$told" && $status -eq 0 ]]; then
    echo "saved before the end of the job; queueing it again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
