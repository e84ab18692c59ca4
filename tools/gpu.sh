#!/usr/bin/env bash
# ./dev gpu [--dry-run] [--stages tests,checks,...] [FOLDER]: what must be shown on a GPU.
#
# Builds the trainer alone (preset trainer-only, with CUDA) and the tests that need a GPU. Runs
# these, then tools/gpu_checks.py: training, evaluation, generation, resuming and memory beside the
# CPU's; then tools/gpu_models.py: forward passes against the CPU, the quick start's models trained
# and evaluated through LibTorch, the quick start's margins; then tools/gpu_bench.py: train steps
# beside plain PyTorch; tools/gpu_attention_bench.py: attention beside PyTorch's;
# tools/gpu_timeline.py: what a training step waits for; and at last it builds and runs the
# trainer's other tests. --stages takes some of these (tests, checks, models, bench, attention,
# timeline, others), where a machine is lent for minutes.
#
# FOLDER (default build/gpu) gets
#
#   checks.json, and as a table      what was checked beside the CPU, and what was found
#   results.json tables.md           the models' numbers, and what was expected of them
#   bench.json bench.md              tokens/s and their ratios to the peer's
#   attention.json, and as a table   TFLOP/s of both
#   timeline.json, and as a table    a step's waits, and its kernels by their time
#   tests.log others.log checks.log  what each stage printed
#   machine.txt                      GPU, driver, compilers, LibTorch, commit
#
# A stage leaves alone what another stage's run left in FOLDER.
#
# Needs a compiler, CMake, nvcc, LibTorch, python3, and what ./dev setup puts into .deps and .data
# (both can be copied along). Exit codes: 0 all as expected; 1 not; 69 there is no GPU.
#
# --dry-run does the same on the CPU, in a few steps on a small model, so that this script itself is
# tested where no GPU is, without attention and timeline; with --trainer PROGRAM it builds and tests
# nothing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

usage() { echo "usage: ./dev gpu [--dry-run [--trainer PROGRAM]] [--stages tests,checks,models,bench,attention,timeline,others] [FOLDER]" >&2; exit 64; }
fail() { printf 'gpu: %s\n' "$*" >&2; exit 1; }
show() { printf '+ %s\n' "$*" >&2; "$@"; }

DRY=false
FOLDER=
TRAINER=
STAGES=tests,checks,models,bench,attention,timeline,others
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY=true ;;
    --trainer) [ $# -ge 2 ] || usage; TRAINER=$2; shift ;;
    --stages) [ $# -ge 2 ] || usage; STAGES=$2; shift ;;
    -*) usage ;;
    *) [ -z "$FOLDER" ] || usage; FOLDER=$1 ;;
  esac
  shift
done
FOLDER=${FOLDER:-build/gpu}
[ -z "$TRAINER" ] || $DRY || usage
STAGE='(tests|checks|models|bench|attention|timeline|others)'
[[ $STAGES =~ ^$STAGE(,$STAGE)*$ ]] || usage
asked() { [[ ,$STAGES, == *,$1,* ]]; }

if ! $DRY && ! { command -v nvidia-smi && nvidia-smi -L | grep -q '^GPU'; } >/dev/null 2>&1; then
  echo "gpu: nvidia-smi finds no GPU on this machine; --dry-run tries the script itself on the CPU" >&2
  exit 69
fi

if [ -z "$TRAINER" ]; then
  # LibTorch: as given, else ours, else the machine's.
  if [ -z "${LONGRUN_TORCH_ROOT:-}" ]; then
    LONGRUN_TORCH_ROOT=$(echo "$PWD"/.venv/lib/python3*/site-packages/torch)
    if [ ! -e "$LONGRUN_TORCH_ROOT/lib/libtorch_cpu.so" ]; then
      # find_spec looks without importing, so a torch without its Python dependencies
      # is found as well.
      LONGRUN_TORCH_ROOT=$(python3 -c "
import importlib.util
spec = importlib.util.find_spec('torch')
print(spec.submodule_search_locations[0] if spec else '')")
    fi
  fi
  [ -e "$LONGRUN_TORCH_ROOT/lib/libtorch_cpu.so" ] ||
    fail "no LibTorch: set LONGRUN_TORCH_ROOT to the folder of torch 2.11.0, or run ./dev setup"
  export LONGRUN_TORCH_ROOT

  [ -e .deps/include/nlohmann/json.hpp ] && [ -e .deps/googletest/googletest/src/gtest-all.cc ] ||
    fail "no .deps/include or .deps/googletest: run ./dev setup where there is a network, and copy .deps here"
  GENERATOR=Ninja
  command -v ninja >/dev/null || GENERATOR="Unix Makefiles"
  CUDA=ON
  $DRY && CUDA=AUTO
  # Warnings stay warnings here: this machine's compiler need not be the one that we build with.
  show cmake --preset trainer-only --compile-no-warning-as-error -G "$GENERATOR" -DLONGRUN_CUDA=$CUDA
  # What needs the GPU, first: the other tests take several times as long.
  show cmake --build build/trainer-only -j "${JOBS:-$(nproc)}" --target longrun-trainer gpu_programs
  TRAINER=build/trainer-only/bin/longrun-trainer
fi
[ -x "$TRAINER" ] || fail "$TRAINER is no program"

# Fresh for each stage: nothing of an earlier run can pass for this one's.
mkdir -p "$FOLDER"
asked tests && rm -f "$FOLDER/tests.log"
asked others && rm -f "$FOLDER/others.log"
asked checks && rm -rf "$FOLDER/checks" "$FOLDER"/checks.{json,md,log}
asked models && rm -rf "$FOLDER/models" "$FOLDER"/{results.json,tables.md,models.log}
asked bench && rm -rf "$FOLDER/bench" "$FOLDER"/bench.{json,md,log}
asked attention && rm -f "$FOLDER"/attention.{json,md,log}
asked timeline && rm -rf "$FOLDER/timeline" "$FOLDER"/timeline.{json,md,log}
{
  date -u +%Y-%m-%dT%H:%M:%SZ
  "$TRAINER" version
  uname -srm
  grep -m1 'model name' /proc/cpuinfo || true
  "${CXX:-c++}" --version | head -1
  cmake --version | head -1
  (command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin; nvcc --version 2>/dev/null | tail -2) || echo "no nvcc"
  nvidia-smi 2>/dev/null || echo "no nvidia-smi"
} > "$FOLDER/machine.txt"

STATUS=0
DRY_RUN=()
if $DRY; then DRY_RUN=(--dry-run); fi
if asked tests && ! $DRY; then
  # With LONGRUN_GPU_TESTS=1 a GPU test that finds no GPU fails; without, it skips.
  LONGRUN_GPU_TESTS=1 show ctest --test-dir build/trainer-only -L gpu --output-on-failure -j 4 \
    --output-log "$(realpath "$FOLDER")/tests.log" || STATUS=1
fi
for name in checks models bench; do
  asked $name || continue
  show python3 tools/gpu_$name.py --trainer "$TRAINER" --folder "$FOLDER" "${DRY_RUN[@]}" \
    2>&1 | tee "$FOLDER/$name.log" || STATUS=1
done
if ! $DRY; then
  if asked attention; then
    show python3 tools/gpu_attention_bench.py --skip --bench "$(dirname "$TRAINER")/longrun-cuda-attention-bench" \
      --folder "$FOLDER" 2>&1 | tee "$FOLDER/attention.log" || STATUS=1
  fi
  if asked timeline; then
    show python3 tools/gpu_timeline.py --trainer "$TRAINER" --folder "$FOLDER" 2>&1 |
      tee "$FOLDER/timeline.log" || STATUS=1
  fi
  if asked others; then
    show cmake --build build/trainer-only -j "${JOBS:-$(nproc)}"
    show ctest --test-dir build/trainer-only -LE gpu --output-on-failure -j "${JOBS:-$(nproc)}" \
      --output-log "$(realpath "$FOLDER")/others.log" || STATUS=1
  fi
fi
exit $STATUS
