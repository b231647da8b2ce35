#!/usr/bin/env bash
# Downloads what a bare CUDA 13 machine lacks, in parts of at most 40 MiB, with their SHA-256.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: bench/gpu/collect_wheels.sh WHEELS_DIR [--cpu] [--part-mib N] [--with NAME==VERSION]...

Fills WHEELS_DIR with wheels for Python 3.12 on x86-64 Linux: FAISS and onnxruntime for CUDA 13, which use the CUDA
libraries that PyTorch brought. --cpu takes the CPU builds for the Python that runs this instead, for
bench/gpu/run.sh --dry-run. --part-mib is the size of a part, at most (40). --with adds a package, without what it needs.

  bench/gpu/collect_wheels.sh wheels
  bench/gpu/run.sh wheels out
TEXT
}

cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
folder="" cpu=no part=40 extra=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --cpu) cpu=yes ;;
    --part-mib) part="${2:?--part-mib needs a number}"; shift ;;
    --with) extra+=("${2:?--with needs NAME==VERSION}"); shift ;;
    -*) echo "error: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) folder="$1" ;;
  esac
  shift
done
[ -n "$folder" ] || { usage >&2; exit 2; }
mkdir -p "$folder"
rm -f "$folder"/*.whl "$folder"/*.part[0-9][0-9]

if [ "$cpu" = yes ]; then
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" \
    faiss-cpu==1.15.1 onnxruntime==1.32.0 "${extra[@]}"
else
  platforms=()
  for glibc in 17 24 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" \
    --python-version 3.12 --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 --platform any \
    faiss-cuda==1.14.1.post4 onnxruntime-gpu==1.31.1 "${extra[@]}"
fi
"$python" -m bench.gpu.wheels split "$folder" --part-mib "$part"
