#!/bin/bash
#SBATCH --job-name=fabrika-toy-reach-v1-141d45a8
#SBATCH --array=0-2%2
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --partition=gpu
#SBATCH --time=240
#SBATCH --mem=8G
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
# 100 scenarios of toy/reach-v1 from 1000 on, in 3 contiguous shares, into one store.
# The store must be on a file system that all nodes share, with working POSIX locks.
# A share may be stopped, and may run again: finished scenarios are not run again.
# Exit codes: 0 done, 3 done with losses, 4 stopped (run it again to go on), 8 store busy.
set -eu
share=${SLURM_ARRAY_TASK_ID:?an array job: hand it to sbatch}
from=$((100 * share / 3))
upto=$((100 * (share + 1) / 3))
exec fabrika rollout toy/reach-v1 --actor expert --split train --workers 4 --out /mnt/store \
    --start "$((1000 + from))" -n "$((upto - from))"
