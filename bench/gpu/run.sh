#!/usr/bin/env bash
# Everything about GPUs in one go: install, doctor, tests, parity with the CPU, figures. See usage.
set -uo pipefail

usage() {
  cat <<'TEXT'
usage: bench/gpu/run.sh WHEELS_DIR OUT_DIR [--dry-run]

For a machine with CUDA 13, Python 3.12, PyTorch and its NVIDIA libraries, a C++ compiler, and no package registry.
WHEELS_DIR is what bench/gpu/collect_wheels.sh made, whole or in parts. OUT_DIR gets steps.tsv (step, seconds, status),
a log for each step, doctor.json, parity.json, results.json and results.md. Nothing is changed outside OUT_DIR.

--dry-run goes through every step on the CPU, with CPU builds in WHEELS_DIR, and marks each figure as not yet measured.
PYTHON chooses the interpreter (python3). SECONDS_LEFT is how long all may take (570).

  bench/gpu/run.sh wheels out
TEXT
}

positional=() dry=no
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage; exit 0 ;;
    --dry-run) dry=yes ;;
    -*) echo "error: unknown option $argument" >&2; usage >&2; exit 2 ;;
    *) positional+=("$argument") ;;
  esac
done
[ ${#positional[@]} -eq 2 ] || { usage >&2; exit 2; }
wheels="$(realpath "${positional[0]}")"
mkdir -p "${positional[1]}"
out="$(realpath "${positional[1]}")"
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
limit="${SECONDS_LEFT:-570}"
device=cuda options=()
[ "$dry" = yes ] && device=cpu options=(--dry-run)
export CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
failed=0
: > "$out/steps.tsv"

step() {
  local name="$1" started=$SECONDS status
  shift
  echo "== $name" >&2
  "$@" > >(tee "$out/$name.log") 2>&1
  status=$?
  printf '%s\t%s\t%s\n' "$name" "$((SECONDS - started))" "$status" >> "$out/steps.tsv"
  [ "$status" -eq 0 ] || { failed=1; echo "== $name failed with $status, see $out/$name.log" >&2; }
  return "$status"
}

# A venv made from a venv does not see the first one's packages, so they are named in a .pth file, after its own.
make_venv() {
  rm -rf "$out/venv"
  "$python" -m venv --system-site-packages "$out/venv" || return
  local site
  site="$("$out/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  "$python" -c 'import site; print("\n".join(site.getsitepackages()))' > "$site/beside.pth"
}

install_wheels() {
  "$out/venv/bin/python" -m pip install --quiet --no-index --no-deps --ignore-installed "$out"/wheels/*.whl
}

# A wheel of this project that was brought along, otherwise one built from this tree.
install_project() {
  if compgen -G "$out/wheels/guidealign_engine-*.whl" > /dev/null; then return; fi
  "$out/venv/bin/python" -m pip install --quiet --no-index --no-deps --no-build-isolation --ignore-installed \
    -C build-dir="$out/build" .
}

gpu_seen() { nvidia-smi || [ "$dry" = yes ]; }

step gpu gpu_seen
step join "$python" -m bench.gpu.wheels join "$wheels" "$out/wheels" &&
  step venv make_venv &&
  step wheels install_wheels &&
  step project install_project || { cat "$out/steps.tsv"; exit 1; }

run="$out/venv/bin/python"
step doctor "$run" -m guidealign_engine doctor --device "$device" --json
tail -n 1 "$out/doctor.log" > "$out/doctor.json"
step tests "$run" -m pytest tests/test_devices.py tests/test_gpu_encoder.py tests/test_gpu_index.py \
  tests/test_gpu_rerank.py tests/test_gpu_stages.py tests/test_gpu_cuda.py \
  tests/test_gpu_bench.py -p no:cacheprovider -rs -W default
step parity "$run" -m bench.gpu.parity --device "$device" --out "$out/parity.json"
step figures "$run" -m bench.gpu.report --device "$device" --out "$out/results.json" --table "$out/results.md" \
  --seconds "$((limit - SECONDS))" "${options[@]}"
cat "$out/steps.tsv"
exit "$failed"
