"""Train steps of longrun-trainer on a GPU beside the same model in PyTorch, plain and compiled (torch_peer.py).

Called by tools/gpu.sh. Writes FOLDER/bench.json and FOLDER/bench.md, again after each rate. Both sides run the
same shape, tokens in a step and precision, one after the other in each round; a rate is that of the steps behind
the warm-up. A side that fails is left out of its row from there on, and the row says why; if it is ours, the exit
code is 1. --shapes and --methods take some of the rows, by number and by name; after --seconds, no further
round begins. Standard library only here; the peer needs a python3 that can import torch.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from gpu_models import (MODEL, NOVELS_TRAIN, NOVEL_VALIDATION, ROOT, TRAIN, Failed, journal, run)

# name, (layers, heads, width), vocabulary, train length, tokens in a step, precision, steps, of
# them warm-up; the most telling first, since a machine may be lent for minutes
SHAPES = [
    ("GPT-2 124M", (12, 12, 768), 50304, 1024, 16384, "bf16", 30, 10),
    ("GPT-2 small's body", (12, 12, 768), 320, 1024, 16384, "bf16", 30, 10),
    ("micro", (3, 4, 96), 320, 64, 1024, "fp32", 200, 50),
    ("GPT-2 small's body", (12, 12, 768), 320, 1024, 16384, "fp32", 30, 10),
]
# Journal times are in whole milliseconds.
DRY_SHAPES = [("tiny", (2, 2, 32), 320, 64, 256, "fp32", 48, 8)]
# Where PyTorch has an attention of its own that is exact, ours is measured through it as well.
METHODS = {"cable": ["fused", "fused, graphs", "reference"], "alibi": ["fused", "reference"],
           "rope": ["fused", "fused, graphs", "torch", "reference"], "none": ["fused", "torch", "reference"]}


def ours(args, work, dataset, shape, method, attention):
    _, (n_layer, n_head, width), vocabulary, length, batch_tokens, precision, steps, warm = shape
    run_file = work / "run.json"
    run_file.write_text(json.dumps({
        "model": dict(MODEL, n_layer=n_layer, n_head=n_head, d_model=width, d_ff=4 * width,
                      vocab_size=vocabulary),
        "train": dict(TRAIN, train_length=length, batch_tokens=batch_tokens, precision=precision,
                      tokens=steps * batch_tokens, validate={"every": 0, "tokens": 0},
                      schedule={"name": "constant", "warmup_tokens": 0}),
        "seed": 1, "position": {"method": method}}))
    attention, _, graphs = attention.partition(", ")
    output = work / "train"
    shutil.rmtree(output, ignore_errors=True)
    run([args.trainer, "train", "--run", str(run_file), "--dataset", str(dataset), "--output",
         str(output), "--device", args.device, "--attention", attention], work / "train.log",
        LONGRUN_GPU_GRAPHS="1" if graphs else "0")
    t_ms = [record["t_ms"] for record in journal(output, "series")]
    return (len(t_ms) - 1 - warm) * batch_tokens / ((t_ms[-1] - t_ms[warm]) / 1e3)


# What torch_peer.py is told besides.
PEERS = {"plain PyTorch": [], "compiled PyTorch": ["--compile"]}


def peer(args, text, shape, method, options):
    _, model, vocabulary, length, batch_tokens, precision, steps, warm = shape
    found = subprocess.run(
        [sys.executable, str(ROOT / "tools/torch_peer.py"), "train", method, "--tokens", str(text),
         "--steps", str(steps - warm), "--warm", str(warm), "--length", str(length), "--batch-tokens",
         str(batch_tokens), "--shape", ",".join(map(str, model)), "--vocabulary", str(vocabulary),
         "--precision", precision,
         "--device", "cuda" if args.device == "gpu" else "cpu", *options],
        check=False, capture_output=True, text=True)
    if found.returncode != 0:
        lines = found.stderr.strip().splitlines()
        raise Failed(f"torch_peer.py: {lines[-1] if lines else f'exit code {found.returncode}, without a word'}")
    try:
        one = json.loads(found.stdout)
        return one["tokens"] / one["wall_s"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"torch_peer.py printed no rate: {found.stdout!r:.200}") from error


class Row:
    """What is measured of a shape and position method, by round; a side has no round after one that failed."""

    def __init__(self, shape, method):
        self.shape, self.method = shape, method
        self.ours = {attention: [] for attention in METHODS[method]}
        self.peers = {name: [] for name in PEERS}
        self.missing = {}  # side: why

    def add(self, rates, side, measure):
        if side in self.missing:
            return
        try:
            rates[side].append(measure())
        except Failed as failure:
            self.missing[side] = str(failure)
            print(f"{self.shape[0]} in {self.shape[5]}, {self.method}, {side}: not measured: {failure}", flush=True)

    def rows(self):
        """Of bench.json: one for each attention of ours that has a rate."""
        return [{"shape": self.shape[0], "model": self.shape[1], "vocabulary": self.shape[2], "length": self.shape[3],
                 "batch_tokens": self.shape[4], "precision": self.shape[5], "position": self.method,
                 "attention": attention, "tokens_per_s": rates, "peer_tokens_per_s": self.peers,
                 "ratio": {name: [a / b for a, b in zip(rates, of_peer)] for name, of_peer in self.peers.items()},
                 "missing": self.missing} for attention, rates in self.ours.items() if rates]


def write(folder, measured):
    """bench.json and bench.md, so that what was measured stays when the time is up."""
    rows = [row for one in measured for row in one.rows()]
    (folder / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    columns = "".join(f" {name} | ratio |" for name in PEERS)
    lines = ["| model | length | precision | position | attention | tokens/s |" + columns,
             "|" + " --- |" * (6 + 2 * len(PEERS))]
    for row in rows:
        cells = ""
        for name in PEERS:
            ratio, of_peer = row["ratio"][name], row["peer_tokens_per_s"][name]
            cells += (f" {statistics.median(of_peer):,.0f} | {statistics.median(ratio):.2f} "
                      f"({min(ratio):.2f}–{max(ratio):.2f}) |") if ratio else " - | - |"
        lines.append(f"| {row['shape']} | {row['length']} | {row['precision']} | {row['position']} | "
                     f"{row['attention']} | {statistics.median(row['tokens_per_s']):,.0f} |{cells}")
    missing = [f"- {one.shape[0]} in {one.shape[5]}, {one.method}, {side}: {why.splitlines()[0]}"
               for one in measured for side, why in one.missing.items()]
    lines += ["", "Not measured:", "", *missing] if missing else []
    (folder / "bench.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=0, help="0: no limit")
    parser.add_argument("--shapes", default=None, type=lambda text: [int(at) for at in text.split(",")],
                        help="; ".join(f"{at}: {shape[0]} in {shape[5]}" for at, shape in enumerate(SHAPES)))
    parser.add_argument("--methods", default=list(METHODS), type=lambda text: text.split(","))
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    if unknown := [method for method in args.methods if method not in METHODS]:
        parser.error(f"--methods: {', '.join(unknown)}: expected some of {','.join(METHODS)}")
    known = DRY_SHAPES if args.dry_run else SHAPES
    if unknown := [str(at) for at in args.shapes or [] if not 0 <= at < len(known)]:
        parser.error(f"--shapes: {', '.join(unknown)}: expected numbers from 0 to {len(known) - 1}")
    shapes = known if args.shapes is None else [known[at] for at in args.shapes]
    begin = time.monotonic()
    args.trainer = str(pathlib.Path(args.trainer).resolve())
    args.device = "cpu" if args.dry_run else "gpu"
    has_torch = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True,
                               check=False).returncode == 0
    if not has_torch and not args.dry_run:
        raise Failed(f"{sys.executable} cannot import torch: there is no peer to measure against")

    work = args.folder / "bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    dataset = work / "dataset"
    if args.dry_run:
        text, validation = ROOT / "ARCHITECTURE.md", ROOT / "README.md"
    else:
        text, validation = (ROOT / f".data/austen/{name}.txt"
                            for name in (NOVELS_TRAIN[0], NOVEL_VALIDATION))
    run([args.trainer, "data", "import", "--output", str(dataset), "--tokenizer", "bytes", "--train",
         str(text), "--validation", str(validation)], work / "import.log")
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

    def in_time():
        return not args.seconds or time.monotonic() - begin < args.seconds

    measured = []
    for shape, method in ((shape, method) for shape in shapes for method in args.methods):
        if measured and not in_time():
            print(f"{args.seconds} seconds have passed: {method} with {shape[0]} in {shape[5]}, and what comes after "
                  "it, is not measured", flush=True)
            break
        row = Row(shape, method)
        measured.append(row)
        for at in range(args.rounds):
            if at > 0 and not in_time():
                break
            for attention in row.ours:
                row.add(row.ours, attention, lambda at=attention: ours(args, work, dataset, shape, method, at))
                write(args.folder, measured)
            for name, options in PEERS.items() if has_torch else []:
                row.add(row.peers, name, lambda of=options: peer(args, text, shape, method, of))
                write(args.folder, measured)
        for one in row.rows():
            print(json.dumps(one), flush=True)
    print((args.folder / "bench.md").read_text())
    return 1 if any(attention in row.missing for row in measured for attention in row.ours) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        sys.exit(1)
