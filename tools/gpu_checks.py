"""What longrun-trainer does on a GPU beside what it does on the CPU, one row for each statement of docs/gpu-ledger.md.

Called by tools/gpu.sh. Standard library only. The checks are independent of each other, so several run at once;
those that measure or fill the GPU's memory run alone, after the others.

Writes checks.json and checks.md. Exits with 1 if an expectation failed.
"""
import argparse
import concurrent.futures
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback

from gpu_models import (FORWARD_DIFFERENCE_MAX, MODEL, NOVELS_TRAIN, NOVEL_VALIDATION, ROOT, TRAIN, Failed, journal,
                        run, table, tensors, write_tokens)

STEPS = 40
# Two trainings add in different orders, and each step enlarges the difference: Adam divides by the
# root of a gradient's own square, so rounding moves a weight by up to lr. Over 40 steps the losses
# (about 3) stay within this.
LOSS_DIFFERENCE_MAX = 5e-3
MASK_TOKEN = 257  # behind the 256 bytes and the end of text


def largest_difference(a, b):
    """NaN if the two have other shapes, or where one is NaN."""
    if a[0] != b[0]:
        return math.nan
    largest = 0.0
    for x, y in zip(a[1], b[1]):
        if x != y:
            largest = abs(x - y) if math.isnan(x - y) or abs(x - y) > largest else largest
        if math.isnan(largest):
            break
    return largest


class Checks:
    """The trainer, its dataset, and what was found."""

    def __init__(self, args, work):
        self.trainer, self.device, self.dry_run, self.work = args.trainer, args.device, args.dry_run, work
        self.cuda = "cuda" if self.device == "gpu" else "cpu"
        self.steps = 6 if self.dry_run else STEPS
        self.rows = []
        self.lock = threading.Lock()
        if self.dry_run:
            train, self.validation = ROOT / "ARCHITECTURE.md", ROOT / "README.md"
        else:
            train, self.validation = (ROOT / f".data/austen/{name}.txt" for name in (NOVELS_TRAIN[0], NOVEL_VALIDATION))
        self.dataset = work / "dataset"
        self.import_texts(self.dataset, [train])
        # 4 to 200 bytes each: most need padding, and some are cut.
        text = train.read_text(encoding="utf-8")
        pieces = work / "pieces"
        pieces.mkdir()
        for i in range(64):
            (pieces / f"{i}.txt").write_text(text[i * 200:i * 200 + 4 + 37 * i % 197], encoding="utf-8")
        self.documents = work / "documents-dataset"
        self.import_texts(self.documents, sorted(pieces.iterdir()))

    def import_texts(self, dataset, train):
        run([self.trainer, "data", "import", "--output", str(dataset), "--tokenizer", "bytes", "--train",
             *map(str, train), "--validation", str(self.validation)], self.work / "import.log")

    def found(self, what, value, expected, ok):
        with self.lock:
            self.rows.append({"what": what, "value": value, "expected": expected, "ok": bool(ok)})
            # After each, so that what was found stays when the time is up.
            (self.work.parent / "checks.json").write_text(json.dumps(self.rows, indent=1) + "\n")
            print("ok  " if ok else "NO  ", f"{what}: {value} (expected: {expected})", flush=True)

    def at_most(self, what, value, limit):
        self.found(what, f"{value:.3g}", f"at most {limit:g}", value <= limit)

    def equal(self, what, value, wanted):
        self.found(what, str(value)[:120], str(wanted)[:120], value == wanted)

    def folder(self, name):
        folder = self.work / name
        folder.mkdir(parents=True)
        return folder

    def run_file(self, folder, method="cable", model=None, train=None):
        path = folder / "run.json"
        recipe = dict(TRAIN, **(train or {}))
        n_tokens = self.steps * recipe["batch_tokens"]
        path.write_text(json.dumps({
            "model": dict(MODEL, **(model or {})),
            "train": dict(recipe, tokens=n_tokens, validate={"every": n_tokens // 2, "tokens": 1024},
                          schedule={"name": "constant", "warmup_tokens": 0}),
            "seed": 1, "position": {"method": method}}))
        return path

    def train(self, folder, name, run_file, device, *options, dataset=None, **variables):
        """The folder of the training."""
        output = folder / name
        run([self.trainer, "train", "--run", str(run_file), "--dataset", str(dataset or self.dataset), "--device",
             device, "--output", str(output), *options], folder / f"{name}.log", **variables)
        return output

    def evaluate(self, folder, name, run_file, device, checkpoint, *options):
        """Its rows, in order."""
        output = folder / name
        run([self.trainer, "evaluate", "--run", str(run_file), "--dataset", str(self.dataset), "--device", device,
             "--checkpoint", str(checkpoint), "--output", str(output), *options], folder / f"{name}.log")
        rows = [record["body"] for record in journal(output, "result")]
        return sorted(rows, key=lambda row: (row["metric"], row.get("variant") or "", row.get("context_length") or 0))

    def refused(self, folder, name, arguments):
        """What the trainer says where it must refuse."""
        found = subprocess.run([self.trainer, *arguments, "--output", str(folder / name)], capture_output=True,
                               text=True, check=False)
        return found.returncode, found.stderr.strip()


def losses(folder):
    return [body["body"]["loss"] for body in journal(folder, "series") if "loss" in body["body"]]


def last_checkpoint(folder):
    checkpoints = [record["body"] for record in journal(folder, "checkpoint")]
    return folder / next(body["path"] for body in checkpoints if body["final"])


def weights(checkpoint):
    return (checkpoint / "model.safetensors").read_bytes()


def compare_losses(c, what, a, b):
    a, b = losses(a), losses(b)
    c.equal(f"{what}: steps", len(b), len(a))
    c.at_most(f"{what}: largest difference of a step's loss", max(abs(x - y) for x, y in zip(a, b)),
              LOSS_DIFFERENCE_MAX)


def values(rows):
    return [row["value"] for row in rows]


# ---- the checks -----------------------------------------------------------------------------


def training(c):
    """On both devices from the same seed; what the GPU's run records; another device's checkpoint."""
    folder = c.folder("training")
    run_file = c.run_file(folder)
    here = c.train(folder, "gpu", run_file, c.device)
    there = c.train(folder, "cpu", run_file, "cpu")
    compare_losses(c, "training cable", there, here)
    started = journal(here, "started")[-1]["body"]
    if c.device == "gpu":
        c.equal("attention of a run that begins on a GPU", started["execution"]["paths"]["attention"], "fused")
        c.equal("its operators", started["execution"]["paths"]["operators"], "longrun")
        c.equal("its subnormal numbers", started["execution"]["paths"]["subnormals"], "kept")
        c.equal("its matrix products", started["execution"]["paths"]["linear"], "aten/cuda")
        names = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
                               capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
        c.equal("the GPU's name", started["device"]["name"], names[0])
        # nvidia-smi counts what the driver keeps for itself.
        share = started["device"]["memory_bytes"] / (float(names[1]) * 2**20)
        c.found("its memory as a share of what nvidia-smi says", f"{share:.4f}", "0.95 to 1", 0.95 <= share <= 1)
        code, said = c.refused(folder, "refused", ["train", "--run", str(run_file), "--dataset", str(c.dataset),
                                                   "--device", "gpu", "--subnormals", "flushed"])
        c.found("train --subnormals flushed", f"exit code {code}: {said[:160]}", "a refusal that names flushed",
                code == 78 and "flushed" in said)
    # A checkpoint of the CPU's fused attention.
    checkpoint = last_checkpoint(there)
    trained = journal(there, "started")[-1]["body"]["execution"]["paths"]
    c.equal("attention of the CPU's run", trained["attention"], "fused")
    by = {device: c.evaluate(folder, f"scored-{name}", run_file, device, checkpoint, "--lengths", "64,256")
          for name, device in (("cpu", "cpu"), ("gpu", c.device))}
    if c.device == "gpu":
        scored = journal(folder / "scored-gpu", "started")[-1]["body"]["execution"]["paths"]
        c.equal("attention with which the GPU scores it", scored["attention"], "fused")
        c.equal("subnormal numbers with which the GPU scores it", scored["subnormals"], "kept")
    pairs = [(a, b) for a, b in zip(values(by["cpu"]), values(by[c.device])) if a is not None]
    c.at_most("its perplexity rows: largest difference", max(abs(a - b) for a, b in pairs), 1e-4)


def fused(c):
    """Training by the fused attention beside the CPU's, twice, and what scores its checkpoint."""
    folder = c.folder("fused")
    for method in ("cable", "alibi", "rope", "t5", "fire"):
        run_file = c.run_file(c.folder(f"fused-{method}"), method=method)
        here = c.train(folder, f"gpu-{method}", run_file, c.device, "--attention", "fused")
        there = c.train(folder, f"cpu-{method}", run_file, "cpu")
        compare_losses(c, f"training {method} with fused attention", there, here)
    again = c.train(folder, "again", run_file, c.device, "--attention", "fused")
    c.equal("fused attention: the same training twice: weights of the same bits",
            weights(last_checkpoint(again)) == weights(last_checkpoint(here)), True)
    rows = c.evaluate(folder, "scored", run_file, c.device, last_checkpoint(here), "--lengths", "64,256")
    others = c.evaluate(folder, "scored-cpu", run_file, "cpu", last_checkpoint(here), "--lengths", "64,256")
    scored = journal(folder / "scored", "started")[-1]["body"]["execution"]["paths"]
    c.equal("attention that scores its checkpoint", scored["attention"], "fused")
    c.at_most("its perplexity rows: largest difference from the CPU's",
              max(abs(a - b) for a, b in zip(values(rows), values(others)) if a is not None), 1e-4)


def documents(c):
    folder = c.folder("documents")
    run_file = c.run_file(folder, train={"samples": "documents"})
    here, there = (c.train(folder, name, run_file, device, dataset=c.documents)
                   for name, device in (("gpu", c.device), ("cpu", "cpu")))
    compare_losses(c, "documents with padding", there, here)
    padding = [record["body"]["padding"] for record in journal(here, "series") if "padding" in record["body"]]
    c.found("their padding, as a share of a batch", f"{max(padding):.2f}", "more than 0.1", max(padding) > 0.1)


def masked(c):
    folder = c.folder("masked")
    run_file = c.run_file(folder, method="alibi", model={"causal": False}, train={
        "objective": "masked_lm", "mask": {"probability": 0.15, "mask_replace_prob": 0.8, "random_replace_prob": 0.1,
                                           "token": MASK_TOKEN}})
    data = json.loads(run_file.read_text())
    data["position"] = {"method": "alibi", "variant": "symmetric"}
    run_file.write_text(json.dumps(data))
    here = c.train(folder, "gpu", run_file, c.device)
    there = c.train(folder, "cpu", run_file, "cpu")
    compare_losses(c, "masked language model", there, here)
    params = json.dumps({"context_lengths": [32, 64], "score_tokens": 64})
    rows = [c.evaluate(folder, f"scored-{name}", run_file, device, last_checkpoint(there), "--evaluation",
                       "pseudo_perplexity", "--params", params) for name, device in (("cpu", "cpu"), ("gpu", c.device))]
    pairs = [(a, b) for a, b in zip(values(rows[0]), values(rows[1])) if a is not None]
    c.at_most("pseudo_perplexity rows: largest difference", max(abs(a - b) for a, b in pairs), 1e-4)


def middle_checkpoint(training):
    """A checkpoint of a training that kept each of them, before its last one."""
    kept = [training / record["body"]["path"] for record in journal(training, "checkpoint")]
    for path in kept:
        if path.is_dir() and path != last_checkpoint(training):
            return path
    raise Failed(f"{training}: no checkpoint but the last one was kept")


def resume(c):
    """A run that goes on from a checkpoint ends with the bits of one that was never interrupted."""
    folder = c.folder("resume")
    # LibTorch adds an embedding's gradient in other ways for more than 3,072 ids.
    run_file = c.run_file(folder, method="fire", train={"batch_tokens": 4096, "precision": "bf16"})
    whole = c.train(folder, "whole", run_file, c.device, "--checkpoint-every-ms", "0")
    again = c.train(folder, "again", run_file, c.device)
    c.equal("the same training twice: weights of the same bits", weights(last_checkpoint(again)) ==
            weights(last_checkpoint(whole)), True)
    # Each kernel ends before the host goes on, so the work is in another order.
    blocking = c.train(folder, "blocking", run_file, c.device, CUDA_LAUNCH_BLOCKING="1")
    c.equal("the same training with CUDA_LAUNCH_BLOCKING=1: weights of the same bits",
            weights(last_checkpoint(blocking)) == weights(last_checkpoint(whole)), True)
    middle = middle_checkpoint(whole)
    resumed = c.train(folder, "resumed", run_file, c.device, "--resume", str(middle))
    c.equal(f"resumed from {middle.name}: weights of the same bits", weights(last_checkpoint(resumed)) ==
            weights(last_checkpoint(whole)), True)


def operators(c):
    """A run that began with LibTorch's operators goes on with them."""
    folder = c.folder("operators")
    run_file = c.run_file(folder, train={"precision": "bf16"})
    whole = c.train(folder, "whole", run_file, c.device, "--operators", "aten", "--checkpoint-every-ms", "0")
    middle = middle_checkpoint(whole)
    resumed = c.train(folder, "resumed", run_file, c.device, "--resume", str(middle))
    for name, training in (("begun with", whole), ("resumed with", resumed)):
        c.equal(f"operators that a run was {name}", journal(training, "started")[-1]["body"]["execution"]["paths"]
                ["operators"], "aten")
    c.equal(f"resumed from {middle.name} with them: weights of the same bits", weights(last_checkpoint(resumed)) ==
            weights(last_checkpoint(whole)), True)


def activations(c):
    """Recomputing blocks changes no bit. What it saves is in the stage's memory rows."""
    folder = c.folder("activations")
    run_file = c.run_file(folder, method="rope")
    plain = c.train(folder, "plain", run_file, c.device)
    less = c.train(folder, "less", run_file, c.device, "--activation-checkpointing")
    c.equal("activation checkpointing: weights of the same bits", weights(last_checkpoint(less)) ==
            weights(last_checkpoint(plain)), True)


def graphs(c):
    """Steps recorded as CUDA graphs give the same bits; a CPU, on which a dry run trains, records none."""
    folder = c.folder("graphs")
    pose = {"positions": {"method": "pose", "target_length": 256}}
    for name, train in (("fp32", {}), ("bf16", {"precision": "bf16"}), ("pose", pose)):
        run_file = c.run_file(folder, method="rope", train=train)
        plain = c.train(folder, f"{name}-plain", run_file, c.device)
        recorded = c.train(folder, f"{name}-recorded", run_file, c.device, LONGRUN_GPU_GRAPHS="1")
        c.equal(f"CUDA graphs, {name}: weights of the same bits", weights(last_checkpoint(recorded)) ==
                weights(last_checkpoint(plain)), True)


def reading(c):
    """Generation under windows, passkey, attention maps: of one rotary model."""
    folder = c.folder("reading")
    run_file = c.run_file(folder, method="rope")
    checkpoint = last_checkpoint(c.train(folder, "train", run_file, "cpu"))
    text = c.validation.read_bytes()
    n = 60 if c.dry_run else 600
    tokens = folder / "tokens.safetensors"
    write_tokens(tokens, [list(text[row * n:(row + 1) * n]) for row in range(2)])
    for extend in ({"method": "window", "original_length": 64},
                   {"method": "streaming", "sinks": 4, "original_length": 64}, None):
        name = extend["method"] if extend else "plain"
        written = {}
        for device in ("cpu", c.cuda):
            out = folder / f"{name}-{len(written)}.safetensors"
            run([c.trainer, "generate", "--model", str(checkpoint), "--tokens", str(tokens), "--new-tokens", "40",
                 "--dtype", "fp64", "--device", device, "--output", str(out),
                 *(["--extend", json.dumps(extend)] if extend else [])], folder / f"{name}-{len(written)}.log")
            written[out] = tensors(out)
        a, b = written.values() if len(written) == 2 else list(written.values()) * 2
        c.equal(f"generate, {name}: the same tokens", a["tokens"] == b["tokens"], True)
        c.at_most(f"generate, {name}: largest difference of a logit", largest_difference(a["logits"], b["logits"]),
                  1e-8)
    maps = []
    for device in ("cpu", c.cuda):
        out = folder / f"map-{len(maps)}.safetensors"
        run([c.trainer, "attention", "--model", str(checkpoint), "--tokens", str(tokens), "--pool", "32",
             "--device", device, "--output", str(out)], folder / f"map-{len(maps)}.log")
        maps.append(tensors(out))
    c.equal("attention map: its tensors", sorted(maps[1]), sorted(maps[0]))
    c.at_most("attention map: largest difference", max(largest_difference(maps[0][name], maps[1][name])
                                                       for name in maps[0]), 1e-5)
    params = json.dumps({"context_lengths": [512], "trials": 4, "baseline": "none", "protocol": "fitted"})
    rows = [c.evaluate(folder, f"passkey-{name}", run_file, device, checkpoint, "--evaluation", "passkey", "--params",
                       params) for name, device in (("cpu", "cpu"), ("gpu", c.device))]
    c.equal("passkey: the same rows", values(rows[1]), values(rows[0]))


def memory_of(c, folder, name, command):
    """The most that the GPU held while a command ran, in MiB, above what it held before."""
    def used():
        return int(subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                                  capture_output=True, text=True, check=True).stdout.splitlines()[0])
    before, most = used(), 0
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log, \
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            most = max(most, used() - before)
            time.sleep(0.02)
    if process.returncode != 0:
        raise Failed(f"exit code {process.returncode} of {' '.join(command)}:\n{(folder / f'{name}.log').read_text()}")
    return most


# What a GPU's allocator holds at most may differ by this much from what placement and
# `longrun plan` reckon with.
FORECAST_DIFFERENCE_MAX = 0.15
SMALL = {"n_layer": 12, "n_head": 12, "d_model": 768, "d_ff": 3072}  # GPT-2 small's body
# (what, method, vocabulary, sequences of 1,024 tokens in a step, precision, options)
FORECASTS = [
    ("GPT-2 small's body, rope, bf16", "rope", 320, 16, "bf16", []),
    ("GPT-2 124M, cable, bf16", "cable", 50304, 16, "bf16", []),
    ("GPT-2 124M, cable, bf16, activation checkpointing", "cable", 50304, 16, "bf16", ["--activation-checkpointing"]),
    ("GPT-2 124M, cable, fp32", "cable", 50304, 4, "fp32", []),
]


def memory_in(log):
    """{peak_bytes, reserved_bytes, forecast_bytes} that a training on a GPU has logged (worker/trainer/train.cc)."""
    found = re.search(r" training_memory peak_bytes=(\d+) reserved_bytes=(\d+) forecast_bytes=(\d+)", log.read_text())
    if found is None:
        raise Failed(f"{log}: no line training_memory")
    return dict(zip(("peak_bytes", "reserved_bytes", "forecast_bytes"), map(int, found.groups())))


def forecast(c, what, log, is_limit=True):
    """The peak of what a training's tensors took of the GPU beside the forecast."""
    of = memory_in(log)
    share = of["forecast_bytes"] / of["peak_bytes"]
    peak, reserved, foretold = (round(n / 2**20) for n in of.values())
    c.found(f"{what}: the allocator's peak and the forecast of `longrun plan`, MiB",
            f"{peak}, {foretold}: {share:.3f} of it; the allocator reserved {reserved}",
            f"within {FORECAST_DIFFERENCE_MAX:.0%} of the peak" if is_limit else "reported",
            not is_limit or abs(share - 1) <= FORECAST_DIFFERENCE_MAX)


def forecasts(c):
    """The memory of trainings, with fused attention, beside what was foretold."""
    for at, (what, method, vocabulary, sequences, precision, options) in enumerate(FORECASTS):
        folder = c.folder(f"forecast-{at}")
        n_tokens = 1024 * sequences
        run_file = c.run_file(folder, method=method, model={**SMALL, "vocab_size": vocabulary},
                              train={"train_length": 1024, "batch_tokens": n_tokens, "precision": precision})
        data = json.loads(run_file.read_text())
        data["train"].update(tokens=4 * n_tokens, validate={"every": 0, "tokens": 0})
        run_file.write_text(json.dumps(data))
        output = c.train(folder, "train", run_file, c.device, "--micro-batch", str(sequences), *options)
        forecast(c, f"{what}, {sequences} x 1,024 tokens", folder / "train.log")
        shutil.rmtree(output)  # 1.5 GB


def memory(c):
    """Peaks: of trainings beside the forecast and with activation checkpointing; of generation under windows."""
    guarded(forecasts, c)
    folder = c.folder("memory")
    run_file = c.run_file(folder, method="fire", model=SMALL,
                          train={"train_length": 1024, "batch_tokens": 16384, "precision": "bf16"})
    data = json.loads(run_file.read_text())
    data["train"].update(tokens=4 * 16384, validate={"every": 0, "tokens": 0})
    run_file.write_text(json.dumps(data))
    held = {}
    for name, options in (("plain", []), ("less", ["--activation-checkpointing"])):
        held[name] = memory_of(c, folder, name, [
            c.trainer, "train", "--run", str(run_file), "--dataset", str(c.dataset), "--device", c.device, "--output",
            str(folder / name), "--micro-batch", "16", "--attention", "reference", *options])
    c.found("GPT-2 124M with fire, reference attention, 16 x 1,024 tokens, bf16: MiB with activation checkpointing, "
            "and without",
            f"{held['less']}, {held['plain']}", "less than half", 2 * held["less"] < held["plain"])
    for name, what in (("plain", ""), ("less", ", activation checkpointing")):
        forecast(c, f"GPT-2 small's body, fire, bf16, reference attention{what}", folder / f"{name}.log",
                 is_limit=False)
    small = c.run_file(c.folder("memory-small"), method="rope")
    checkpoint = last_checkpoint(c.train(folder, "rope", small, c.device))
    lengths = [4096, 65536]
    params = json.dumps({"context_lengths": lengths, "directions": ["generate"], "new_tokens": 8})
    peaks = {}
    for extend in (None, {"method": "window", "original_length": 1024},
                   {"method": "streaming", "sinks": 4, "original_length": 1024}):
        name = extend["method"] if extend else "whole"
        rows = c.evaluate(folder, f"peak-{name}", small, c.device, checkpoint, "--evaluation", "throughput", "--params",
                          params, *(["--extend", json.dumps(extend)] if extend else []))
        peaks[name] = [next(row["value"] for row in rows if row["metric"] == "peak_bytes" and
                            row["context_length"] == length) / 2**20 for length in lengths]
    for name, (at_4k, at_64k) in peaks.items():
        c.found(f"generate at 4k and 64k tokens, {name}: MiB at the peak", f"{at_4k:.1f}, {at_64k:.1f}", "reported",
                at_64k > 0)
    for name in ("window", "streaming"):
        c.found(f"{name}: its peak at 64k as a share of the whole cache's", f"{peaks[name][1] / peaks['whole'][1]:.2f}",
                "below 0.7", peaks[name][1] < 0.7 * peaks["whole"][1])


def host_keys(c):
    """A text whose keys and values do not fit, since another program holds most of the GPU's memory."""
    folder = c.folder("host_keys")
    run_file = c.run_file(folder, method="cable", model={"n_layer": 12, "n_head": 8, "d_model": 512, "d_ff": 512})
    checkpoint = last_checkpoint(c.train(folder, "cable", run_file, c.device))
    # 12 layers * 2 * 512 channels * 4 bytes = 48 KiB a token: 3 GiB for the longest.
    params = json.dumps({"context_lengths": [1024, 65536], "protocol": "prefix_curve", "baseline": "none"})
    options = ["--evaluation", "perplexity", "--params", params]
    seconds = {}
    begin = time.monotonic()
    expected = c.evaluate(folder, "with_room", run_file, c.device, checkpoint, *options)
    seconds["on the GPU"] = time.monotonic() - begin
    hold = ("import sys, torch; n = torch.cuda.mem_get_info()[0] - (3 << 30); "
            "held = torch.empty(n, dtype=torch.uint8, device='cuda'); print('holds', flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        try:
            if holder.stdout.readline().strip() != "holds":
                raise Failed("python3 with torch could not take the GPU's memory")
            begin = time.monotonic()
            given = c.evaluate(folder, "without_room", run_file, c.device, checkpoint, *options)
            seconds["in the host's memory"] = time.monotonic() - begin
        finally:
            holder.stdin.close()
    said = "keys_in_host_memory" in (folder / "without_room.log").read_text()
    c.found("with 3 GiB free, keys and values are in the host's memory", said, "the log says so", said)
    c.equal("the same rows as with keys on the GPU", values(given), values(expected))
    c.found("seconds of the two evaluations, with the start of the program",
            ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()), "reported", True)


TOGETHER = [training, fused, documents, masked, resume, operators, activations, graphs, reading]
ALONE = [memory, host_keys]


def guarded(check, c):
    try:
        check(c)
    except Exception as error:  # any: one broken check must not hide the others
        traceback.print_exc()
        c.found(check.__name__, re.sub(r"\s+", " ", str(error))[-300:], "to run to its end", False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--only", default=",".join(check.__name__ for check in TOGETHER + ALONE),
                        help="names of checks, separated by commas")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    only = args.only.split(",")
    unknown = set(only) - {check.__name__ for check in TOGETHER + ALONE}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    args.trainer = str(pathlib.Path(args.trainer).resolve())
    args.device = "cpu" if args.dry_run else "gpu"
    work = args.folder.resolve() / "checks"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    c = Checks(args, work)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda check: guarded(check, c), [check for check in TOGETHER if check.__name__ in only]))
    for check in ALONE if args.device == "gpu" else []:
        if check.__name__ in only:
            guarded(check, c)
    text = table(["what", "found", "expected", ""],
                 [[row["what"], row["value"], row["expected"], "ok" if row["ok"] else "NO"] for row in c.rows])
    (args.folder / "checks.md").write_text(text)
    print(text)
    return 0 if all(row["ok"] for row in c.rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        sys.exit(1)
