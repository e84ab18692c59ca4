#!/usr/bin/env bash
# ./dev gpu [--dry-run] [--trainer PROGRAM] [--stages tests,...] [--minutes N] [--whole]
#   [--archive FILE] [FOLDER]: what must be shown on a GPU.
#
# Builds the trainer alone (preset trainer-only, with CUDA) and the tests that need a GPU. The
# stages, in the order of their worth, since a machine may be lent for minutes:
#
#   tests      the tests that need a GPU, those of bits also with blocking launches
#              (tools/gpu_tests.py)
#   sanitizer  those of the kernels on small shapes, under NVIDIA's compute-sanitizer (the same);
#              without one, the stage is not run, and the exit code is 1
#   checks     training, evaluation, generation, resuming and memory, compared with the CPU
#              (tools/gpu_checks.py)
#   attention  the goals of attention, beside PyTorch's and our own, the most valuable first
#              (tools/gpu_attention_bench.py)
#   rows       the kernels over rows beside the memory's bandwidth; the head and its loss beside
#              LibTorch's
#   bench      train steps beside plain and compiled PyTorch (tools/gpu_bench.py)
#   models     forward passes against the CPU, and the quick start's models trained and evaluated,
#              within the margins of its test (tools/gpu_models.py)
#   timeline   what a training step waits for (tools/gpu_timeline.py)
#   others     builds and runs the trainer's other tests (tools/gpu_tests.py)
#
# Each stage is ended after its own limit, of at most ten minutes. After --minutes (30), which
# include the build, no stage goes on or begins. tests, sanitizer, attention, bench and others end
# their programs before that; what they have found by then is kept. --whole has no limits, and
# measures all goals and shapes in several rounds.
#
# FOLDER (default build/gpu) gets
#
#   stages.json                      how each stage ended, and after how many seconds
#   tests.json others.json           each test with its status
#   sanitizer.json                   each run of compute-sanitizer with its status
#   checks.json, and as a table      what was compared with the CPU, and what was found
#   attention.json, and as a table   times, their fraction of what the GPU reaches, ratios, and
#                                    whether each goal is met
#   rows.jsonl                       a JSON object on each line, as the programs print it
#   bench.json bench.md              tokens/s and their ratios to the peer's
#   results.json tables.md           the models' numbers, and what was expected of them
#   timeline.json, and as a table    a step's waits, and its kernels by their time
#   STAGE.log                        what the stage printed
#   machine.txt                      GPU, driver, compilers, LibTorch, commit
#
# A stage leaves alone what another stage's run left in FOLDER. --archive also writes these files,
# and the logs of the programs that the stages have run, to FILE (a tar.gz), again after each stage:
# whatever ends the script, FILE is whole, and has all stages that ended before.
#
# With --trainer nothing is built, here or by others: the tests and benchmarks are those of the
# build that has PROGRAM, in its folder bin.
#
# Needs a compiler, CMake, nvcc, LibTorch, python3, and what ./dev setup puts into .deps and .data
# (both can be copied along). Exit codes: 0 all as expected; 1 not, or not all was run; 69 there is
# no GPU.
#
# --dry-run does the same on the CPU, in a few steps on a small model, so that this script itself is
# tested where no GPU is. Stages that only a GPU can run are named and left out.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

STAGES=tests,sanitizer,checks,attention,rows,bench,models,timeline,others
usage() {
  echo "usage: ./dev gpu [--dry-run] [--trainer PROGRAM] [--stages $STAGES] [--minutes N] [--whole] [--archive FILE]" \
    "[FOLDER]" >&2
  exit 64
}
fail() { printf 'gpu: %s\n' "$*" >&2; exit 1; }
show() { printf '+ %s\n' "$*" >&2; "$@"; }

DRY=false
FOLDER=
TRAINER=
MINUTES=30
WHOLE=false
ARCHIVE=
ASKED=$STAGES
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY=true ;;
    --trainer) [ $# -ge 2 ] || usage; TRAINER=$2; shift ;;
    --stages) [ $# -ge 2 ] || usage; ASKED=$2; shift ;;
    --minutes) [ $# -ge 2 ] || usage; MINUTES=$2; shift ;;
    --whole) WHOLE=true ;;
    --archive) [ $# -ge 2 ] || usage; ARCHIVE=$2; shift ;;
    -*) usage ;;
    *) [ -z "$FOLDER" ] || usage; FOLDER=$1 ;;
  esac
  shift
done
FOLDER=${FOLDER:-build/gpu}
STAGE="(${STAGES//,/|})"
[[ $ASKED =~ ^$STAGE(,$STAGE)*$ ]] && [[ $MINUTES =~ ^[0-9]{1,6}$ ]] || usage
asked() { [[ ,$ASKED, == *,$1,* ]]; }

if ! $DRY && ! { command -v nvidia-smi && nvidia-smi -L | grep -q '^GPU'; } >/dev/null 2>&1; then
  echo "gpu: nvidia-smi finds no GPU on this machine; --dry-run tries the script itself on the CPU" >&2
  exit 69
fi

BUILDS=true
if [ -n "$TRAINER" ]; then
  BUILDS=false
else
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
BIN=$(dirname "$TRAINER")
BUILD=$(dirname "$BIN")
[ "$BIN" != . ] || BUILD=..

# Fresh for each stage: nothing of an earlier run can pass for this one's.
mkdir -p "$FOLDER"
rm -f "$FOLDER/stages.json"
for name in ${ASKED//,/ }; do
  rm -rf "${FOLDER:?}/$name" "$FOLDER/$name".{json,jsonl,md,log}
done
asked models && rm -f "$FOLDER"/{results.json,tables.md}
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
ENDED=
# Replaces the archive as a whole.
archive() {
  [ -n "$ARCHIVE" ] || return 0
  local part=$ARCHIVE.part
  # tar says 1 of a log that still grows.
  if mkdir -p "$(dirname "$ARCHIVE")" &&
    { (cd "$FOLDER" && find . -type f \( -name '*.log' -o ! -path './*/*' \) -print0) |
      grep -zvxF -e "./$(basename "$ARCHIVE")" -e "./$(basename "$part")" |
      tar -czf "$part" -C "$FOLDER" --null -T - || [ $? -eq 1 ]; } && mv "$part" "$ARCHIVE"; then
    return 0
  else
    echo "gpu: $ARCHIVE cannot be written" >&2
    STATUS=1
  fi
}
# note STAGE STATUS SECONDS: a row of stages.json
note() {
  ENDED+="${ENDED:+,}
 {\"stage\": \"$1\", \"status\": \"$2\", \"seconds\": $3}"
  printf '[%s\n]\n' "$ENDED" > "$FOLDER/stages.json"
  echo "gpu: $1: $2" >&2
  [ "$2" = ok ] || [[ $2 == "left out"* ]] || STATUS=1
  archive
}
# seconds_of LIMIT: what a stage with this limit may take now
seconds_of() {
  local left=$((MINUTES * 60 - SECONDS))
  if $WHOLE; then echo 0; else echo $((left < $1 ? left : $1)); fi
}
# run STAGE LIMIT MARGIN COMMAND...: if the stage is asked for. An argument @SECONDS@ becomes what
# the command may take, which is less than its stage by MARGIN, so that it can end by itself.
run() {
  local name=$1 limit=$2 margin=$3 begin=$SECONDS code=0 seconds within=36000 log tee
  shift 3
  asked "$name" || return 0
  seconds=$(seconds_of "$limit")
  if ! $WHOLE && [ "$seconds" -le 0 ]; then
    note "$name" "not run: $MINUTES minutes have passed; run it by --stages $name" 0
    return
  fi
  # Of less time, the margin takes at most a half.
  $WHOLE || within=$((seconds > 2 * margin ? seconds - margin : (seconds + 1) / 2))
  # Not a pipeline: bash would wait until all that a stage has begun, in whatever session, has
  # closed it.
  exec {log}> >(exec tee "$FOLDER/$name.log")
  tee=$!
  show timeout --kill-after=10 "$seconds" "${@//@SECONDS@/$within}" >&"$log" 2>&1 {log}>&- || code=$?
  exec {log}>&-
  timeout 5 tail --sleep-interval=0.05 --pid="$tee" -f /dev/null || kill "$tee" 2>/dev/null || true
  case $code in
    0) note "$name" ok $((SECONDS - begin)) ;;
    77) note "$name" "not run; see $name.log" $((SECONDS - begin)) ;;
    124 | 137) note "$name" "ended after $seconds seconds; run it by --stages $name, or --whole" "$seconds" ;;
    *) note "$name" "exit code $code; see $name.log" $((SECONDS - begin)) ;;
  esac
}
# The same for a stage that a dry run leaves out.
run_on_gpu() {
  if $DRY; then
    asked "$1" && note "$1" "left out: it needs a GPU" 0
    return 0
  fi
  run "$@"
}

DRY_RUN=()
if $DRY; then DRY_RUN=(--dry-run); fi
# attention and bench end by themselves, with a margin for the last row.
ATTENTION=(--seconds @SECONDS@)
BENCH=(--seconds @SECONDS@ --rounds 1)
if $WHOLE; then ATTENTION=(--shapes) BENCH=(); fi

run_on_gpu tests 240 10 python3 tools/gpu_tests.py tests --build "$BUILD" --folder "$FOLDER" \
  --seconds @SECONDS@
run sanitizer 240 10 python3 tools/gpu_tests.py sanitizer --build "$BUILD" --folder "$FOLDER" \
  --seconds @SECONDS@ "${DRY_RUN[@]}"
run checks 360 0 python3 tools/gpu_checks.py --trainer "$TRAINER" --folder "$FOLDER" "${DRY_RUN[@]}"
run_on_gpu attention 300 100 python3 tools/gpu_attention_bench.py --goals all --folder "$FOLDER" \
  --bench "$BIN/longrun-cuda-attention-bench" "${ATTENTION[@]}"
# shellcheck disable=SC2016  # the inner bash expands these
run_on_gpu rows 90 0 bash -c 'set -o pipefail
  { "$1/longrun-cuda-rows-bench" && "$1/longrun-head-bench" cuda; } | tee "$2/rows.jsonl"' rows "$BIN" "$FOLDER"
run bench 300 120 python3 tools/gpu_bench.py --trainer "$TRAINER" --folder "$FOLDER" "${BENCH[@]}" "${DRY_RUN[@]}"
run models 300 0 python3 tools/gpu_models.py --trainer "$TRAINER" --folder "$FOLDER" "${DRY_RUN[@]}"
run_on_gpu timeline 120 0 python3 tools/gpu_timeline.py --trainer "$TRAINER" --folder "$FOLDER"
# shellcheck disable=SC2016
run_on_gpu others 600 10 bash -c 'SECONDS=0
  if $5; then cmake --build "$4" -j "$1" || exit; fi
  exec python3 tools/gpu_tests.py others --build "$4" --folder "$2" --jobs "$1" --seconds "$(($3 - SECONDS))"' \
  others "${JOBS:-$(nproc)}" "$FOLDER" @SECONDS@ "$BUILD" $BUILDS
cat "$FOLDER/stages.json"
exit $STATUS
