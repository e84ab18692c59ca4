"""./dev bench [NAME...]: benchmarks of the build in build/release, as a table and as JSON.

Each measurement stands beside a baseline that was taken in the same minutes, round by round in turn;
what is printed is the median and the quartiles. Without a NAME all are run:

  start      how long `longrun version` takes (target: below 50 ms), beside /bin/true; and a reading
             command that starts a coordinator for its moment
  journal    records through the journal, beside plain writes of the same bytes
  ingest     journal to acknowledged row (target: 100,000 rows/s), beside SQLite and gRPC alone
  table      a sweep's table among a million rows (target: 50 ms), beside a database of it alone
  service    100,000 runs in one submission, 2,000 connected workers, 200 of them busy, 1,000 that come back
             with certificates, a checkpoint of 1 GB, and a start with 10 million rows, beside SQLite, gRPC and
             a TLS socket alone
  train      a training step, an evaluation and attention beside the rate of the model's own products, at
             widths 512 and 768 (longrun-step-bench, whose head has the formula); and tokens/s of the
             quick start's model on the CPU, each position method beside "none"
  linear     its train step through oneDNN's products beside ATen's, in tokens per processor second
  kernels    fused attention and the kernels over rows (norms, activations, AdamW, loss, embedding,
             key bias) beside LibTorch's operators, in processor time; and its train step with the
             latter beside without
  subnormals each kernel, and a train step of each position method, on numbers that are subnormal beside
             the same on numbers that are not: what they cost this processor, flushed and kept
  torch      its train step and its evaluation beside the same model in plain PyTorch (torch_peer.py),
             in tokens per processor second; LONGRUN_BENCH_PYTHON names a Python that can import torch
  hugging_face  a train step and an evaluation of GPT-2's architecture beside `transformers` with eager
             attention (hugging_face_peer.py), from the same weights on the same tokens, and by how much
             their losses differ; LONGRUN_BENCH_PYTHON names a Python that can import transformers
  extensions  reading 16k tokens, and 256 more after 8k, under self_extend, dca and gali beside the same methods
             re-written in `transformers` (extension_peer.py), from the same weights, once the logits agree; each
             extension beside the same model without one (longrun-extension-bench); and a train step at PoSE's
             positions beside one at plain positions
  simulator  simulated histories of the scheduler per second
  tokenizer  text to the ids of GPT-2, beside tiktoken where it is installed (bench_tokenizer.py)

Writes build/bench/results.json: of each NAME and machine (make, microarchitecture, instruction set) the newest results.
`--page` writes what is there into docs/benchmarks.md, a table for each NAME and machine; the tables of other machines
stay there as they are. It measures nothing unless a NAME is given (bench_page.py).
Standard library only.
"""
import argparse
import array
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import bench_page
from bench_tokenizer import bench_tokenizer
from gpu_models import MODEL, NOVEL_VALIDATION, NOVELS_TRAIN, TRAIN

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"  # or as --bin says
ROUNDS = 7
TRAIN_STEPS = 40
TORCH_ROUNDS = 5
TORCH_METHODS = ["rope", "sinusoidal", "none", "alibi", "cable"]
# Kept, they cost many times as much: no spread is needed.
SUBNORMAL_ROUNDS, SUBNORMAL_ROUNDS_KEPT = 3, 1
SUBNORMAL_METHODS_KEPT = ["rope", "cable"]      # nor all methods, each of which would take minutes
SUBNORMAL = 1e-37  # a weight of a model times this is subnormal
STEP_MODELS = [("4", "8", "512"), ("12", "12", "768")]  # layers, heads and width
STEP_LENGTH = "1024"
# name, layers, heads and width, length of the one sequence in a step, rounds
HUGGING_FACE_MODELS = [("tiny", "6,8,512", 256, 3), ("GPT-2 124M", "12,12,768", 256, 2)]
HUGGING_FACE_STEPS = 50  # all of them warm-up, so that rounding stays small
HUGGING_FACE_LR = 6e-4   # GPT-2 124M's
EVALUATED_TOKENS = 4096
# One head: a peer holds several matrices of all scores, 1 GiB each at 16k.
EXTENSION_PREFILL = {"shape": "2,1,128", "prompt": 16384, "new": 1}
EXTENSION_DECODE = {"shape": "2,2,128", "prompt": 8192, "new": 256}
EXTENSION_LENGTH = 4096  # of the model: texts are 2 to 4 times as long
# GALI's chunk is as long as the whole positions at the end of 16k tokens.
EXTENSIONS = [{"method": "self_extend", "group": 8, "window": 1024}, {"method": "dca", "local_window": 512},
              {"method": "gali", "local_window": 128, "chunk": 1024}]
EXTENSION_ROUNDS = 3
EXTENSION_LOGITS_MAX = 1e-3  # difference in fp32
EXTENSION_SHAPE = ["4", "4", "256", "4096", "8192", "32", "5"]
POSE = {"method": "pose", "target_length": 1024}
POSE_LENGTH, POSE_STEPS, POSE_ROUNDS = 256, 100, 5
TRAIN_STEPS_WARM = 10  # of them left out: the first steps allocate
SIMULATED_SEEDS = 200
EVALUATED_LENGTHS = [64, 1024]
ATTENTION_LENGTHS = ["1024", "2048", "4096"]
EVALUATED_MORE, EVALUATED_LESS = 1 << 18, 1 << 15  # tokens


def seconds(command, **options):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - begin


def cpu_seconds(command):
    """Processor time of a command: what it costs where the machine is busy with others."""
    pid = os.posix_spawn(command[0], command, os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise subprocess.CalledProcessError(status, command)
    return usage.ru_utime + usage.ru_stime


def measured(name, unit, ours, baseline=None, what_baseline=None, target=None):
    ratio = [a / b for a, b in zip(ours, baseline) if b] if baseline else None
    return {"name": name, "unit": unit, "ours": ours, "baseline": baseline, "ratio": ratio,
            "what_baseline": what_baseline, "target": target}


def bench_start(_):
    ours, baseline = [], []
    command = [str(BIN / "longrun"), "version"]
    seconds(command)
    for _ in range(3 * ROUNDS):
        ours.append(1e3 * seconds(command))
        baseline.append(1e3 * seconds(["/bin/true"]))
    yield measured("start: longrun version", "ms", ours, baseline, "/bin/true", "< 50")
    yield measured("start: longrun version, processor time", "ms",
                   [1e3 * cpu_seconds(command) for _ in range(3 * ROUNDS)],
                   [1e3 * cpu_seconds(["/bin/true"]) for _ in range(3 * ROUNDS)], "/bin/true")
    with tempfile.TemporaryDirectory() as home:
        # The first makes the database.
        command = [str(BIN / "longrun"), "ls"]
        environment = dict(os.environ, LONGRUN_HOME=home)
        seconds(command, env=environment)
        ours = [1e3 * seconds(command, env=environment) for _ in range(ROUNDS)]
    yield measured("start: longrun ls, with a coordinator of its own", "ms", ours)


def bench_program(name, *options):
    """A program that prints its measurements, one JSON line each."""
    out = subprocess.run([str(BIN / name), *options], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        one = json.loads(line)
        yield measured(one["name"], one["unit"], one["ours"], one["baseline"],
                       one["what_baseline"], one.get("target"))


def train_rate(work, dataset, method):
    """tokens/s of each step after the warm-up, from the journal's own times."""
    output = work / method
    run_file = work / f"{method}.json"
    train = dict(TRAIN, tokens=TRAIN_STEPS * TRAIN["batch_tokens"],
                 schedule={"name": "constant", "warmup_tokens": 0}, validate={"every": 0, "tokens": 0})
    run_file.write_text(json.dumps({"model": MODEL, "train": train, "seed": 1,
                                    "position": {"method": method}}))
    shutil.rmtree(output, ignore_errors=True)
    seconds([str(BIN / "longrun-trainer"), "train", "--run", str(run_file), "--dataset",
             str(dataset), "--output", str(output)],
            env=dict(os.environ, OMP_WAIT_POLICY="passive"))
    with open(output / "journal.jsonl", encoding="utf-8") as lines:
        t_ms = [record["t_ms"] for record in map(json.loads, lines) if record["kind"] == "series"]
    n_steps = len(t_ms) - 1 - TRAIN_STEPS_WARM
    return n_steps * TRAIN["batch_tokens"] / ((t_ms[-1] - t_ms[TRAIN_STEPS_WARM]) / 1e3)


def bench_train(_):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    for shape in STEP_MODELS:
        yield from bench_program("longrun-step-bench", *shape, STEP_LENGTH)
    novels = ROOT / ".data/austen"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        dataset = work / "dataset"
        seconds([str(BIN / "longrun-trainer"), "data", "import", "--output", str(dataset), "--train",
                 *[str(novels / f"{name}.txt") for name in NOVELS_TRAIN],
                 "--validation", str(novels / f"{NOVEL_VALIDATION}.txt")])
        methods = ["none", "cable", "alibi", "rope", "sinusoidal"]
        rates = {method: [] for method in methods}
        for _ in range(ROUNDS):
            for method in methods:
                rates[method].append(train_rate(work, dataset, method))
    for method in methods[1:]:
        yield measured(f"train: {method}, micro, length 64, 1 thread", "tokens/s", rates[method],
                       rates["none"], 'position "none"')


def train_cpu_seconds(work, dataset, method, n_steps, options=(), batch_tokens=TRAIN["batch_tokens"], more=None):
    """Processor seconds of a whole training, from start to end. `more`: settings of `train` beside the recipe's."""
    run_file = work / "torch.json"
    train = dict(TRAIN, tokens=n_steps * batch_tokens, batch_tokens=batch_tokens,
                 schedule={"name": "constant", "warmup_tokens": 0}, validate={"every": 0, "tokens": 0},
                 **(more or {}))
    model = {} if "--init" in options else {"model": MODEL, "position": {"method": method}}
    run_file.write_text(json.dumps({"train": train, "seed": 1, **model}))
    output = work / "torch"
    shutil.rmtree(output, ignore_errors=True)
    return cpu_seconds([str(BIN / "longrun-trainer"), "train", "--run", str(run_file), "--dataset",
                        str(dataset), "--output", str(output), "--threads", "1", *options])


def train_rate_cpu(work, dataset, method, options=()):
    """tokens per processor second, of the difference of two lengths: what a start costs falls out."""
    more = train_cpu_seconds(work, dataset, method, TRAIN_STEPS_WARM + TRAIN_STEPS, options)
    less = train_cpu_seconds(work, dataset, method, TRAIN_STEPS_WARM, options)
    return TRAIN_STEPS * TRAIN["batch_tokens"] / (more - less)


def one_step_rate_cpu(work, dataset, method, options):
    """The same within one step, whose weights are those of the start from its first token to its last."""
    n_more, n_less = TRAIN_STEPS * TRAIN["batch_tokens"], TRAIN_STEPS_WARM * TRAIN["batch_tokens"]
    more = train_cpu_seconds(work, dataset, method, 1, options, n_more)
    less = train_cpu_seconds(work, dataset, method, 1, options, n_less)
    return (n_more - n_less) / (more - less)


def evaluate_rate_cpu(work, dataset, length, options=()):
    """The same for scoring the model that the training in `work` left, in windows of `length`."""
    def spent(n_tokens):
        output = work / "evaluation"
        shutil.rmtree(output, ignore_errors=True)
        checkpoint = max((work / "torch/checkpoints").iterdir())
        return cpu_seconds([str(BIN / "longrun-trainer"), "evaluate", "--run", str(work / "torch.json"),
                            "--dataset", str(dataset), "--checkpoint", str(checkpoint), "--output",
                            str(output), "--threads", "1", "--lengths", str(length), "--params",
                            json.dumps({"score_tokens": n_tokens}), *options])
    return (EVALUATED_MORE - EVALUATED_LESS) / (spent(EVALUATED_MORE) - spent(EVALUATED_LESS))


def one_novel(work):
    """A dataset of one novel to train on, and that novel's file."""
    novels = ROOT / ".data/austen"
    dataset, text_file = work / "dataset", novels / f"{NOVELS_TRAIN[0]}.txt"
    seconds([str(BIN / "longrun-trainer"), "data", "import", "--output", str(dataset), "--train",
             str(text_file), "--validation", str(novels / f"{NOVEL_VALIDATION}.txt")])
    return dataset, text_file


def bench_linear(_):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        dataset, _ = one_novel(work)
        ours, baseline = [], []
        for _ in range(TORCH_ROUNDS):
            ours.append(train_rate_cpu(work, dataset, "rope", ["--matrix", "onednn"]))
            baseline.append(train_rate_cpu(work, dataset, "rope", ["--matrix", "aten"]))
    yield measured("train step: rope, micro, oneDNN's products", "tokens/cpu s", ours, baseline,
                   "ATen's products")


def bench_kernels(_):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    for number in ["fp32", "bf16"]:
        yield from bench_program("longrun-attention-bench", "--type", number, *ATTENTION_LENGTHS)
    yield from bench_program("longrun-rows-bench")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        dataset, _ = one_novel(work)
        for method in ["rope", "cable"]:
            ours, baseline = [], []
            for _ in range(TORCH_ROUNDS):
                ours.append(train_rate_cpu(work, dataset, method, ["--operators", "longrun"]))
                baseline.append(train_rate_cpu(work, dataset, method, ["--operators", "aten"]))
            yield measured(f"train step: {method}, micro, our kernels", "tokens/cpu s", ours, baseline,
                           "LibTorch's operators")


def make_tiny(safetensors):
    """Every second weight of a file becomes subnormal, as in a model that was pruned by decay."""
    data = bytearray(safetensors.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    weights = array.array("f", bytes(data[begin:]))
    for i in range(0, len(weights), 2):
        weights[i] *= SUBNORMAL
    data[begin:] = weights.tobytes()
    safetensors.write_bytes(data)


def bench_subnormals(_):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    yield from bench_program("longrun-subnormals-bench")
    schema = json.loads((ROOT / "sweeps/sweep.schema.json").read_text())
    matrix = schema["properties"]["spec"]["properties"]["matrix"]["properties"]
    methods = matrix["position"]["items"]["anyOf"][0]["enum"]
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            dataset, _ = one_novel(work)
            train_cpu_seconds(work, dataset, method, 1)
            checkpoint = max((work / "torch/checkpoints").iterdir())
            starts = [work / "tiny", work / "normal"]
            for start in starts:
                start.mkdir()
                for name in ["config.json", "model.safetensors"]:
                    shutil.copy(checkpoint / name, start)
            make_tiny(starts[0] / "model.safetensors")
            treatments = [("flushed", SUBNORMAL_ROUNDS, "ratio >= 0.9")]
            if method in SUBNORMAL_METHODS_KEPT:
                treatments.append(("kept", SUBNORMAL_ROUNDS_KEPT, None))
            for treatment, n_rounds, target in treatments:
                rates = [[], []]
                for _ in range(n_rounds):
                    for rate, start in zip(rates, starts):
                        rate.append(one_step_rate_cpu(
                            work, dataset, method, ["--subnormals", treatment, "--init", str(start)]))
                yield measured(f"train step: {method}, micro{'' if target else ', kept'}", "tokens/cpu s",
                               *rates, "weights that are normal", target)


def python_with(package, name):
    """A Python that can import `package`; None, said, where there is none."""
    python = os.environ.get("LONGRUN_BENCH_PYTHON", str(ROOT / ".venv/bin/python3"))
    found = subprocess.run([python, "-c", f"import {package}"], capture_output=True, text=True,
                           check=False)
    if found.returncode == 0:
        return python
    print(f"{name}: not measured: {python} cannot import {package} "
          f"({found.stderr.strip().splitlines()[-1]}); LONGRUN_BENCH_PYTHON names another one")
    return None


def bench_hugging_face(_):
    python = python_with("transformers", "hugging_face")
    if python is None:
        return
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    for name, shape, length, n_rounds in HUGGING_FACE_MODELS:
        with tempfile.TemporaryDirectory() as folder:
            yield from one_hugging_face_model(python, pathlib.Path(folder), name, shape, length,
                                              n_rounds)


def one_hugging_face_model(python, work, name, shape, length, n_rounds):
    dataset, text_file = one_novel(work)
    model = work / "model"
    run_file = work / "run.json"

    def peer(what, *options):
        return json.loads(subprocess.run(
            [python, str(ROOT / "tools/hugging_face_peer.py"), what, str(model), *map(str, options)],
            check=True, stdout=subprocess.PIPE, text=True).stdout)

    def ours(verb, *options):
        output = work / verb
        shutil.rmtree(output, ignore_errors=True)
        spent = cpu_seconds([str(BIN / "longrun-trainer"), verb, "--init", str(model), "--dataset",
                             str(dataset), "--output", str(output), "--threads", "1",
                             *map(str, options)])
        with open(output / "journal.jsonl", encoding="utf-8") as lines:
            return spent, [json.loads(line) for line in lines]

    def our_training(n_steps):
        train = dict(TRAIN, train_length=length, tokens=n_steps * length, batch_tokens=length,
                     order="stream", precision="fp32",
                     optimizer=dict(TRAIN["optimizer"], lr=HUGGING_FACE_LR),
                     schedule={"name": "constant", "warmup_tokens": n_steps * length},
                     validate={"every": 0, "tokens": 0})
        run_file.write_text(json.dumps({"train": train, "seed": 1}))
        spent, records = ours("train", "--run", run_file)
        return spent, [r["body"]["loss"] for r in records
                       if r["kind"] == "series" and "loss" in r["body"]]

    def our_evaluation(n_tokens):
        return ours("evaluate", "--lengths", length, "--params",
                    json.dumps({"score_tokens": n_tokens}))[0]

    peer("make", "--shape", shape, "--length", length)
    steps, steps_warm = HUGGING_FACE_STEPS, TRAIN_STEPS_WARM
    n_tokens = (steps - steps_warm) * length
    rates, peer_rates, difference, from_exact, peer_from_exact = [], [], [], [], []
    options = ["--tokens", text_file, "--lr", HUGGING_FACE_LR, "--steps"]
    exact = peer("train", *options, steps, "--dtype", "float64")["losses"]

    def largest_difference(losses, others):
        return 1e6 * max(abs(a - b) for a, b in zip(losses, others, strict=True))

    for _ in range(n_rounds):
        more, losses = our_training(steps)
        rates.append(n_tokens / (more - our_training(steps_warm)[0]))
        theirs = peer("train", *options, steps)
        peer_rates.append(n_tokens / (theirs["cpu_s"] - peer("train", *options, steps_warm)["cpu_s"]))
        difference.append(largest_difference(losses, theirs["losses"]))
        from_exact.append(largest_difference(losses, exact))
        peer_from_exact.append(largest_difference(theirs["losses"], exact))
    yield measured(f"train step: {name}, learned, length {length}, 1 thread",
                   "tokens/cpu s", rates, peer_rates, "transformers, eager", "ratio >= 1.5")
    yield measured(f"largest difference of a loss, {steps} steps: {name}", "1e-6 nats", difference,
                   target="<= 100")
    yield measured(f"the same, from transformers in fp64: {name}", "1e-6 nats", from_exact,
                   peer_from_exact, "transformers, fp32")

    evaluated = {"more": 5 * EVALUATED_TOKENS, "less": EVALUATED_TOKENS}
    n_tokens = evaluated["more"] - evaluated["less"]
    rates, peer_rates = [], []
    for _ in range(n_rounds):
        rates.append(n_tokens / (our_evaluation(evaluated["more"]) - our_evaluation(evaluated["less"])))
        spent = {which: peer("evaluate", "--tokens", text_file, "--windows", n // length)["cpu_s"]
                 for which, n in evaluated.items()}
        peer_rates.append(n_tokens / (spent["more"] - spent["less"]))
    yield measured(f"evaluation: {name}, learned, length {length}, 1 thread", "tokens/cpu s", rates,
                   peer_rates, "transformers, eager", "ratio >= 1.5")


def bench_extensions(_):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    yield from bench_program("longrun-extension-bench", "all", *EXTENSION_SHAPE)
    yield bench_pose()
    python = python_with("transformers", "extensions: the methods in transformers")
    if python is None:
        return
    for what, key, size in [("prefill of 16k tokens", "prefill_s", EXTENSION_PREFILL),
                            ("256 tokens after 8k", "decode_s", EXTENSION_DECODE)]:
        with tempfile.TemporaryDirectory() as folder:
            yield from beside_peers_of_methods(python, folder, what, key, size)


def bench_pose():
    batch = POSE_LENGTH * 4

    def rate(work, dataset, positions):
        def spent(n_steps):
            return train_cpu_seconds(work, dataset, "rope", n_steps, batch_tokens=batch,
                                     more={"train_length": POSE_LENGTH, **positions})
        return POSE_STEPS * batch / (spent(TRAIN_STEPS_WARM + POSE_STEPS) - spent(TRAIN_STEPS_WARM))

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        dataset, _ = one_novel(work)
        ours, baseline = [], []
        for _ in range(POSE_ROUNDS):
            ours.append(rate(work, dataset, {"positions": POSE}))
            baseline.append(rate(work, dataset, {}))
    return measured(f"train step: PoSE, micro, length {POSE_LENGTH}, 1 thread", "tokens/cpu s", ours, baseline,
                    "plain positions", "ratio >= 0.97")


def beside_peers_of_methods(python, model, what, key, size):
    lengths = [str(size["prompt"]), str(size["new"])]
    peer = [python, str(ROOT / "tools/extension_peer.py")]
    subprocess.run([*peer, "make", model, "--shape", size["shape"], "--length", str(EXTENSION_LENGTH)], check=True,
                   stderr=subprocess.DEVNULL)

    def found(command):
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         text=True).stdout)

    for extension in EXTENSIONS:
        given = json.dumps({**extension, "original_length": EXTENSION_LENGTH})
        ours, theirs, difference = [], [], []
        for _ in range(EXTENSION_ROUNDS):
            ours.append(found([str(BIN / "longrun-extension-bench"), "read", model, *lengths, given]))
            theirs.append(found([*peer, "read", model, given, "--prompt", lengths[0], "--new", lengths[1]]))
            difference.append(max(abs(a - b) for logits in ["first_logits", "last_logits"]
                                  for a, b in zip(ours[-1][logits], theirs[-1][logits], strict=True)))
            if difference[-1] >= EXTENSION_LOGITS_MAX:
                sys.exit(f"extensions: under {given}, logits differ from the peer's by {difference[-1]}, "
                         f"{EXTENSION_LOGITS_MAX} or more: one of the two is wrong, so their times say nothing")
        yield measured(f"largest difference of a logit: {extension['method']}, {what}", "1e-6",
                       [1e6 * one for one in difference], target=f"< {1e6 * EXTENSION_LOGITS_MAX:.0f}")
        rate = size["prompt"] if key == "prefill_s" else size["new"]
        yield measured(f"{what}: {extension['method']}", "tokens/cpu s", [rate / one[key] for one in ours],
                       [rate / one[key] for one in theirs], "the method re-written in transformers", "ratio >= 3")


def bench_torch(_):
    python = python_with("torch", "torch")
    if python is None:
        return
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        dataset, text_file = one_novel(work)

        def peer_rate(what, method, *options):
            out = subprocess.run([python, str(ROOT / "tools/torch_peer.py"), what, method, "--tokens",
                                  str(text_file), *map(str, options)],
                                 check=True, stdout=subprocess.PIPE, text=True).stdout
            one = json.loads(out)
            return one["tokens"] / one["cpu_s"]

        for method in TORCH_METHODS:
            ours, peer = [], []
            for _ in range(TORCH_ROUNDS):
                ours.append(train_rate_cpu(work, dataset, method))
                peer.append(peer_rate("train", method, "--steps", TRAIN_STEPS, "--warm",
                                      TRAIN_STEPS_WARM))
            yield measured(f"train step: {method}, micro, length 64, 1 thread", "tokens/cpu s", ours,
                           peer, "plain PyTorch", "ratio >= 1.0")
            for length in EVALUATED_LENGTHS:
                ours, peer = [], []
                for _ in range(TORCH_ROUNDS):
                    ours.append(evaluate_rate_cpu(work, dataset, length))
                    peer.append(peer_rate("evaluate", method, "--length", length))
                yield measured(f"evaluation: {method}, micro, length {length}, 1 thread",
                               "tokens/cpu s", ours, peer, "plain PyTorch", "ratio >= 1.0")


def bench_simulator(args):
    rates = [SIMULATED_SEEDS / seconds([str(BIN / "longrun-sim"), "--seed",
                                        str(args.seed + round_ * SIMULATED_SEEDS), "--seeds",
                                        str(SIMULATED_SEEDS)]) for round_ in range(ROUNDS)]
    yield measured("simulator: histories", "seeds/s", rates)


PAGE = ROOT / "docs/benchmarks.md"

BENCHES = {"start": bench_start,
           "journal": lambda _: bench_program("longrun-journal-bench"),
           "ingest": lambda _: bench_program("longrun-ingest-bench"),
           "table": lambda _: bench_program("longrun-table-bench"),
           "service": lambda _: bench_program("longrun-service-bench"),
           "train": bench_train, "linear": bench_linear, "kernels": bench_kernels,
           "subnormals": bench_subnormals, "torch": bench_torch,
           "hugging_face": bench_hugging_face, "extensions": bench_extensions,
           "simulator": bench_simulator,
           "tokenizer": lambda _: bench_tokenizer(BIN, measured)}


def measure(names, args, results):
    """Runs the benchmarks named, prints their rows, and puts them into `results` under this machine."""
    about = bench_page.about_machine(BIN)
    print(f"{about['version']}, LibTorch {about['libtorch']}\n{about['machine']}, {about['linear']}, "
          f"{about['cores']} cores, load {about['load']:.1f}\nmedian (quartiles)\n")
    row = "{:62} {:>12} {:>28} {:>28} {:>20}  {}"
    print(row.format("", "", "ours", "baseline", "ratio", ""))
    for name in names:
        about = dict(about, load=os.getloadavg()[0], date=bench_page.today())
        measurements = []
        for one in BENCHES[name](args):
            measurements.append(one)
            print(row.format(*bench_page.row_of(one)), flush=True)
        if measurements:
            bench_page.keep(results, name, about, measurements)
        # Written after each: what has been measured is not lost with an interrupted run.
        bench_page.write_results(args.output, results)
    print(f"\nwritten: {args.output}")


def main():
    global BIN
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--seed", type=int, default=1, help="the simulator's first")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/bench/results.json")
    parser.add_argument("--bin", default=str(BIN), help="folder of the programs")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md from the results")
    args = parser.parse_args()
    BIN = pathlib.Path(args.bin).resolve()
    unknown = set(args.names) - set(BENCHES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")

    try:
        results = bench_page.read_results(args.output)
        if args.names or not args.page:
            measure(args.names or BENCHES, args, results)
        if args.page:
            for name in bench_page.write_page(PAGE, list(BENCHES), results):
                print(f'left out: the results of "{name}", since no benchmark is called so')
            print(f"written: {PAGE}")
    except bench_page.Malformed as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
