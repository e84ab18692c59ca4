"""What a GPU and its host do in a training step, by CUPTI: does the host wait, and is the GPU ever idle?

Called by tools/gpu.sh. Trains GPT-2 small's body in bf16 for 30 steps with each of a few position methods while
liblongrun_gpu_timeline.so (kernels/cuda/timeline.cc) records. --vocabulary 50304 makes it GPT-2 124M; a step has
16,384 tokens, whatever --length is. Writes FOLDER/timeline.json and FOLDER/timeline.md: of the later steps, the share
of time in which the GPU computes, the copies from the host and how many of them begin while a kernel runs, the calls of
CUDA that wait, and the kernels by their time. Exits with 1 if a step waits for anything but the losses of the step
before (one cudaEventSynchronize).

Recording makes each call longer, so the share of a busy GPU is a lower bound. Standard library only.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import sys

from gpu_models import MODEL, NOVELS_TRAIN, NOVEL_VALIDATION, ROOT, TRAIN, Failed, run, table

METHODS = ["cable", "rope", "none"]
STEPS = 30
BATCH_TOKENS = 16384
WAITS = re.compile(r"^cuda(\w*Synchronize|Memcpy|Memset|Memcpy2D|Memset2D|Free|Malloc|HostAlloc)(_|$)")
OF_A_STEP = "cudaEventSynchronize"
FROM_HOST = "host to GPU"
COPIES = (FROM_HOST, "GPU to host", "other", "fill")  # as timeline.cc names what is no kernel
KERNELS_SHOWN = 25


def without_version(call):
    return re.sub(r"(_ptsz)?_v\d+$", "", call)


def read(path):
    """(work of the GPU, calls of the host), each as (begin, end, name) in their order, in ns."""
    work, calls = [], []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            kind, begin, end, name = line.rstrip("\n").split("\t")
            if kind == "missing":
                raise Failed(f"{path}: CUPTI has dropped records")
            (calls if kind == "call" else work).append((int(begin), int(end), name))
    return sorted(work), sorted(calls)


def step_ends(work):
    """When each step's last kernel of the optimiser ended."""
    ends, in_update = [], False
    for _, end, name in work:
        is_update = "AdamWKernel" in name
        if is_update and in_update:
            ends[-1] = end
        elif is_update:
            ends.append(end)
        # Fills and copies may lie between two kernels of one update.
        if is_update or "<" in name:
            in_update = is_update
    return ends


def begun_beside_kernels(work):
    """Of each copy from the host, in their order: (its begin, whether it began while a kernel ran)."""
    found, until = [], 0
    for begin, end, name in work:
        if name == FROM_HOST:
            found.append((begin, begin < until))
        elif name not in COPIES:
            until = max(until, end)
    return found


def summary(path):
    work, calls = read(path)
    ends = step_ends(work)
    if len(ends) != STEPS:
        raise Failed(f"{path}: {len(ends)} updates of {STEPS} were found")
    begin, end = ends[STEPS // 2], ends[-2]
    n_step = STEPS - 2 - STEPS // 2
    busy, until = 0, begin
    kernels = collections.Counter()
    for at, done, name in work:
        if begin < at <= end:
            busy += max(0, done - max(at, until))
            until = max(until, done)
            kernels[name] += done - at
    beside = [is_beside for at, is_beside in begun_beside_kernels(work) if begin < at <= end]
    waits = collections.Counter(without_version(name) for at, _, name in calls
                                if begin < at <= end and WAITS.match(name))
    return {"ms": (end - begin) / n_step / 1e6, "busy": busy / (end - begin),
            "kernels": sum(begin < at <= end for at, _, _ in work) / n_step, "steps": n_step,
            "copies": len(beside) / n_step, "copies_beside": sum(beside) / n_step,
            "waits": {name: n / n_step for name, n in waits.items()},
            "ms_of": {name: ns / n_step / 1e6 for name, ns in kernels.most_common(KERNELS_SHOWN)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--methods", default=METHODS, type=lambda text: text.split(","))
    parser.add_argument("--length", default=1024, type=int)
    parser.add_argument("--vocabulary", default=MODEL["vocab_size"], type=int)
    args = parser.parse_args()
    trainer = pathlib.Path(args.trainer).resolve()
    recorder = trainer.parent / "liblongrun_gpu_timeline.so"
    if not recorder.exists():
        raise Failed(f"there is no {recorder}: this build's CUDA toolkit has no CUPTI, or is older than 13")
    work = (args.folder / "timeline").resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    dataset = work / "dataset"
    text, validation = (ROOT / f".data/austen/{name}.txt" for name in (NOVELS_TRAIN[0], NOVEL_VALIDATION))
    run([str(trainer), "data", "import", "--output", str(dataset), "--tokenizer", "bytes", "--train", str(text),
         "--validation", str(validation)], work / "import.log")

    found = {}
    for method in args.methods:
        run_file = work / "run.json"
        run_file.write_text(json.dumps({
            "model": dict(MODEL, n_layer=12, n_head=12, d_model=768, d_ff=3072, vocab_size=args.vocabulary),
            "train": dict(TRAIN, train_length=args.length, batch_tokens=BATCH_TOKENS, precision="bf16",
                          tokens=STEPS * BATCH_TOKENS, validate={"every": 0, "tokens": 0},
                          schedule={"name": "constant", "warmup_tokens": 0}),
            "seed": 1, "position": {"method": method}}))
        recording = work / f"{method}.tsv"
        os.environ |= {"CUDA_INJECTION64_PATH": str(recorder), "LONGRUN_GPU_TIMELINE": str(recording)}
        run([str(trainer), "train", "--run", str(run_file), "--dataset", str(dataset), "--output", str(work / method),
             "--device", "gpu", "--micro-batch", str(BATCH_TOKENS // args.length)], work / f"{method}.log")
        found[method] = summary(recording)
        recording.unlink()
    (args.folder / "timeline.json").write_text(json.dumps(found, indent=1) + "\n")
    text = table(["position", "ms in a step", "GPU busy", "kernels, copies and fills", "copies from the host",
                  "begun beside kernels", "calls that wait"],
                 [[method, f"{one['ms']:.1f}", f"{one['busy']:.3f}", f"{one['kernels']:.0f}",
                   f"{one['copies']:.2f}", f"{one['copies_beside']:.2f}",
                   ", ".join(f"{name} {n:.3g}" for name, n in one["waits"].items())]
                  for method, one in found.items()])
    for method, one in found.items():
        text += f"\n{method}\n\n" + table(["kernel", "ms in a step"], [
            [f"`{name[:150]}`", f"{ms:.3f}"] for name, ms in one["ms_of"].items()])
    (args.folder / "timeline.md").write_text(text)
    print(text)
    # The host is ahead of the GPU, whose times bound what is counted: by one wait, at either end.
    waiting = {method: one["waits"] for method, one in found.items()
               if set(one["waits"]) != {OF_A_STEP} or abs(one["waits"][OF_A_STEP] - 1.0) * one["steps"] > 1.01}
    if waiting:
        print(f"a step waits for more than the losses of the step before: {waiting}")
    return 1 if waiting else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        sys.exit(1)
