#!/bin/bash
# Register a table of pairs as a SLURM job array: each task does its part of the table.
#
#   sbatch --array=0-15 examples/cluster/register_array.sh pairs.csv results
#
# A task that was killed or ran out of time goes on where it stood: submit the same array again.
# Tasks may end in any order; metrics.csv and report.html hold all pairs after the last of them.
#SBATCH --job-name=anyvox-register
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=anyvox-%A-%a.log
set -euo pipefail

pairs=${1:?usage: register_array.sh PAIRS.csv OUT [flags of anyvox register]}
out=${2:?usage: register_array.sh PAIRS.csv OUT [flags of anyvox register]}
shift 2

export KERAS_BACKEND=${KERAS_BACKEND:-torch}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# A shard none of whose pairs could be trusted ends with 3; its files are written all the same.
status=0
anyvox register --batch "$pairs" --out "$out" \
  --shard "${SLURM_ARRAY_TASK_ID:-0}/${SLURM_ARRAY_TASK_COUNT:-1}" "$@" || status=$?
[ "$status" -eq 3 ] && status=0
exit "$status"
