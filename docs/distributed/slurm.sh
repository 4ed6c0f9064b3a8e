#!/bin/bash
#SBATCH --job-name=explorer
#SBATCH --ntasks=9
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
# One task coordinates, the others evaluate. STORAGE is the URL of a PostgreSQL database that all nodes reach, RUN a folder
# on a shared disk. Submitted again, it goes on.
set -euo pipefail
: "${STUDY:?a study.toml or its folder}" "${RUN:?the folder of the run}" "${STORAGE:?postgresql+psycopg://user@host/database}"
export OMP_NUM_THREADS=1
srun --ntasks=8 --exact explorer worker "$STUDY" --out "$RUN" --storage "$STORAGE" &
srun --ntasks=1 --exact explorer run "$STUDY" --out "$RUN" --storage "$STORAGE" --jobs 0 --minutes 225
wait
