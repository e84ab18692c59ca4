"""Trains and evaluates the quick start's models on a GPU through longrun-trainer alone, and compares.

Called by tools/gpu.sh. Standard library only, since a GPU machine may have nothing else.

  1. Each position method is trained by the recipe of sweeps/quickstart.yaml (read from that file).
  2. The trained weights go through `longrun-trainer forward` on the GPU and on the CPU, in fp32, with
     the same tokens; the largest difference of two logits is written down.
  3. Each of the quick start's four models is evaluated at 1 to 16 times its train length, and the
     quick start's margins are checked.

Writes results.json and tables.md. Exits with 1 when an expectation failed.
"""
import argparse
import array
import collections
import concurrent.futures
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import time

class Failed(Exception):
    pass


ROOT = pathlib.Path(__file__).resolve().parent.parent


def quickstart():
    """TRAIN, QUICKSTART and LENGTHS out of sweeps/quickstart.yaml, so that the numbers stand once.

    Not a YAML reader: it finds each key by its own line or braces, and refuses when one is not there.
    """
    text = re.sub(r"\s*#.*", "", (ROOT / "sweeps/quickstart.yaml").read_text(encoding="utf-8"))

    def find(pattern):
        found = re.search(pattern, text)
        if found is None:
            raise Failed(f"sweeps/quickstart.yaml: nothing matches {pattern}")
        return found.group(1)

    def flow(key):
        """{a: 1, b: [2, 3], c: word} as a dict."""
        # A word stands behind neither a digit nor a dot: the e of 2.0e-3 does.
        return json.loads(re.sub(r"(?<![\w.])([A-Za-z_]\w*)", r'"\1"', find(key + r": (\{.*\})")))

    optimizer = flow("optimizer")
    optimizer.setdefault("eps", 1e-8)
    train = {
        "train_length": int(find(r"train_length: \[(\d+)\]")),
        "tokens": int(find(r"train:\s+tokens: (\d+)")),
        "batch_tokens": int(find(r"batch_tokens: (\d+)")),
        "precision": find(r"precision: (\w+)"), "order": "random", "optimizer": optimizer,
        "schedule": flow("schedule"), "validate": flow("validate"),
    }
    methods = find(r"position: \[(.*)\]").split(", ")
    lengths = [int(length) for length in find(r"context_lengths: \[(.*)\]").split(", ")]
    find(r"model: (\{architecture: gpt2, size: micro\})")
    return train, methods, lengths


TRAIN, QUICKSTART, LENGTHS = quickstart()
# "micro" is 3 layers, 4 heads, 96 wide; the tokenizer "bytes" has 256 bytes and the end of text,
# padded to 320 rows (model/data/tokenizer.cc).
MODEL = {
    "vocab_size": 320,
    "architecture": "gpt2", "n_layer": 3, "n_head": 4, "d_model": 96, "d_ff": 384,
    "activation": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_embeddings": True, "causal": True,
    "init_std": 0.02,
}
METHODS = QUICKSTART + ["none", "learned", "t5", "kerple", "fire", "xpos", "cope", "fox"]

ARRAY_TYPE = {"F32": "f", "F64": "d", "I64": "q"}  # of safetensors: of the module array

NOVELS_TRAIN = ["emma", "mansfieldpark", "northangerabbey", "prideprejudice", "sensesensibility"]
NOVEL_VALIDATION = "persuasion"

# Both sides compute in fp32 and differ in the order of their sums only. A product of 384 terms of
# size 1 errs by about 384 * 2^-24 = 2e-5; three layers and logits of size 10 stay below 1e-3.
FORWARD_DIFFERENCE_MAX = 1e-3


def run(command, log, **variables):
    """Runs a command, its output into `log`, with these environment variables too; gives the seconds it took."""
    print("+", *command, flush=True)
    begin = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False,
                              env=dict(os.environ, **variables)).returncode
    if code != 0:
        tail = "".join(open(log, encoding="utf-8").readlines()[-20:])
        raise Failed(f"exit code {code} of {' '.join(command)}:\n{tail}")
    return time.monotonic() - begin


def write_tokens(path, rows):
    """A safetensors file with `tokens`, int64, of shape (len(rows), len(rows[0]))."""
    data = b"".join(struct.pack(f"<{len(row)}q", *row) for row in rows)
    header = json.dumps({"tokens": {"dtype": "I64", "shape": [len(rows), len(rows[0])],
                                    "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def tensors(path):
    """{name: (shape, array of numbers)} of a safetensors file."""
    raw = path.read_bytes()
    n_header = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, entry in json.loads(raw[8:8 + n_header]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        numbers = array.array(ARRAY_TYPE[entry["dtype"]])
        numbers.frombytes(raw[8 + n_header + begin:8 + n_header + end])
        out[name] = (entry["shape"], numbers)
    return out


def journal(folder, kind):
    with open(folder / "journal.jsonl", encoding="utf-8") as lines:
        return [record for record in map(json.loads, lines) if record["kind"] == kind]


def unigram_perplexity(train, validation):
    """Add-one smoothed byte frequencies of `train`, read against `validation` (model/data/unigram.h)."""
    counts = collections.Counter(train)
    total = len(train) + 257
    nll = sum(n * -math.log((counts[byte] + 1) / total)
              for byte, n in collections.Counter(validation).items())
    return math.exp(nll / len(validation))


class Check:
    """The expectations, each with what was found."""

    def __init__(self):
        self.rows = []

    def at_most(self, what, value, limit):
        self.rows.append({"what": what, "value": value, "expected": f"<= {limit:.6g}",
                          "ok": value <= limit})  # NaN is not ok

    def above(self, what, value, limit):
        self.rows.append({"what": what, "value": value, "expected": f"> {limit:.6g}",
                          "ok": value > limit})


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def texts(work, dry_run):
    """(train files, validation file)"""
    if dry_run:
        # What every checkout holds.
        train = work / "train.txt"
        train.write_bytes(b"".join((ROOT / name).read_bytes() for name in
                                   ["ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE", "README.md"]))
        validation = work / "validation.txt"
        validation.write_bytes((ROOT / "sweeps/reference.md").read_bytes()[:2048])
        return [train], validation
    novels = ROOT / ".data/austen"
    files = [novels / f"{name}.txt" for name in NOVELS_TRAIN + [NOVEL_VALIDATION]]
    missing = [str(file.relative_to(ROOT)) for file in files if not file.exists()]
    if missing:
        raise Failed(f"missing: {', '.join(missing)}: run ./dev setup where there is a network, and "
                     "copy .data here")
    return files[:-1], files[-1]


def compare_forward(args, work, checkpoint, method, text, length):
    """The largest difference of a logit between the device and the CPU, and the largest logit."""
    tokens = work / "tokens.safetensors"
    # A learned table has as many rows as a training sequence has tokens.
    n = TRAIN["train_length"] if method == "learned" else length
    write_tokens(tokens, [list(text[row * n:(row + 1) * n]) for row in range(2)])
    logits = {}
    for device in ["cpu", "cuda" if args.device == "gpu" else "cpu"]:
        output = work / f"logits-{len(logits)}.safetensors"
        run([args.trainer, "forward", "--model", str(checkpoint), "--tokens", str(tokens),
             "--output", str(output), "--device", device], work / f"forward-{len(logits)}.log")
        logits[output] = tensors(output)["logits"][1]
    reference, other = logits.values()
    if len(reference) != len(other) or len(reference) != 2 * n * MODEL["vocab_size"]:
        raise Failed(f"{method}: {len(reference)} and {len(other)} logits, expected "
                     f"{2 * n * MODEL['vocab_size']}")
    difference = max(abs(a - b) for a, b in zip(reference, other))
    if any(math.isnan(x) for x in other):
        difference = math.nan
    return {"max_abs_difference": difference, "max_abs_logit": max(map(abs, reference)),
            "tokens": [2, n]}


def one_model(args, work, dataset, method, lengths, validation_text):
    work.mkdir(parents=True)
    model = dict(MODEL)
    train = dict(TRAIN)
    if args.dry_run:
        model.update(n_layer=1, n_head=2, d_model=16, d_ff=64)
        train.update(tokens=8 * 256, batch_tokens=256,
                     schedule={"name": "cosine", "warmup_tokens": 256},
                     validate={"every": 1024, "tokens": 512})
    run_file = work / "run.json"
    run_file.write_text(json.dumps({"model": model, "train": train, "seed": 1,
                                    "position": {"method": method}}))
    common = ["--run", str(run_file), "--dataset", str(dataset), "--device", args.device]
    seconds = run([args.trainer, "train", *common, "--output", str(work / "train")],
                  work / "train.log")
    started = journal(work / "train", "started")[-1]["body"]
    series = [record["body"] for record in journal(work / "train", "series")]
    losses = [body["loss"] for body in series if "loss" in body]
    # A trainer gives no rate before its steps have taken 20 ms, and a dry run can be over by then.
    rates = [body["tokens_per_s"] for body in series if "tokens_per_s" in body]
    checkpoints = [record["body"] for record in journal(work / "train", "checkpoint")]
    checkpoint = work / "train" / next(body["path"] for body in checkpoints if body["final"])
    result = {"train_s": seconds, "steps": len(losses), "first_loss": losses[0],
              "last_loss": losses[-1], "tokens_per_s_median": statistics.median(rates) if rates else None,
              "device": started["device"], "execution": started["execution"],
              "torch": started["torch"], "commit": started["commit"]}
    result["forward"] = compare_forward(args, work, checkpoint, method, validation_text, lengths[-1])
    if method in QUICKSTART:
        run([args.trainer, "evaluate", *common, "--output", str(work / "evaluate"), "--checkpoint",
             str(checkpoint), "--lengths", ",".join(map(str, lengths))], work / "evaluate.log")
        rows = [record["body"] for record in journal(work / "evaluate", "result")]
        result["evaluation"] = [
            {"context_length": row["context_length"], "nll": row["value"], "se": row["se"],
             "tokens": row["n"], "status": row["status"],
             "perplexity": None if row["value"] is None else math.exp(row["value"])}
            for row in sorted((row for row in rows if row["metric"] == "nll"),
                              key=lambda row: row["context_length"])]
        found = [row["context_length"] for row in result["evaluation"]]
        if found != lengths:
            raise Failed(f"{method}: evaluated at {found}, expected {lengths}")
    return result


def check_margins(models, unigram, lengths):
    check = Check()
    for method, result in models.items():
        check.at_most(f"{method}: largest difference of a logit from the CPU's",
                      result["forward"]["max_abs_difference"], FORWARD_DIFFERENCE_MAX)
    for method in QUICKSTART:
        perplexity = {row["context_length"]: math.nan if row["perplexity"] is None else
                      row["perplexity"] for row in models[method]["evaluation"]}
        first, last = perplexity[lengths[0]], perplexity[lengths[-1]]
        if method in ("cable", "alibi"):
            check.at_most(f"{method}: perplexity at {lengths[-1]} over that at {lengths[0]}",
                          last / first, 1.15)
        if method == "sinusoidal":
            check.above(f"{method}: perplexity at {lengths[-1]} over that at {lengths[0]}",
                        last / first, 2.0)
        limit = unigram if method == "sinusoidal" else unigram / 2
        check.at_most(f"{method}: perplexity at {lengths[0]}", first, limit)
    return check


def report(results):
    models = results["models"]
    lengths = results["lengths"]
    device = next(iter(models.values()))["device"]
    out = [f"# Quick start's models on {device['name']}\n"]
    if results["dry_run"]:
        out.append("**A dry run on the CPU, of a few steps: the numbers mean nothing and are not judged.**\n")
    out.append("## Perplexity by context length\n")
    rows = [[method] + [f"{row['perplexity']:.3f}" if row["perplexity"] is not None else "-"
                        for row in models[method]["evaluation"]] for method in QUICKSTART]
    rows.append(["unigram"] + [f"{results['unigram_perplexity']:.3f}"] * len(lengths))
    out.append(table(["position"] + [str(length) for length in lengths], rows))
    out.append("## Training and forward\n")
    out.append(table(
        ["position", "steps", "first loss", "last loss", "tokens/s", "seconds",
         "max abs difference to the CPU (fp32)", "max abs logit"],
        [[method, str(r["steps"]), f"{r['first_loss']:.4f}", f"{r['last_loss']:.4f}",
          "-" if r["tokens_per_s_median"] is None else f"{r['tokens_per_s_median']:.0f}", f"{r['train_s']:.1f}",
          f"{r['forward']['max_abs_difference']:.2e}", f"{r['forward']['max_abs_logit']:.2f}"]
         for method, r in models.items()]))
    out.append("## Expectations\n")
    out.append(table(["what", "found", "expected", ""],
                     [[row["what"], f"{row['value']:.6g}", row["expected"],
                       "ok" if row["ok"] else "NO"] for row in results["checks"]]))
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--jobs", type=int, default=4, help="models at once; their tokens/s are of a shared GPU")
    args = parser.parse_args()
    args.trainer = str(pathlib.Path(args.trainer).resolve())
    args.device = "cpu" if args.dry_run else "gpu"
    lengths = LENGTHS[:2] if args.dry_run else LENGTHS

    folder = pathlib.Path(args.folder).resolve()
    work = folder / "models"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    train_files, validation_file = texts(work, args.dry_run)
    dataset = work / "dataset"
    run([args.trainer, "data", "import", "--output", str(dataset), "--tokenizer", "bytes",
         "--train", *map(str, train_files), "--validation", str(validation_file)],
        work / "import.log")
    validation_text = validation_file.read_bytes()
    unigram = unigram_perplexity(b"".join(file.read_bytes() for file in train_files),
                                 validation_text)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        models = dict(zip(METHODS, pool.map(
            lambda method: one_model(args, work / method, dataset, method, lengths, validation_text), METHODS)))
    check = check_margins(models, unigram, lengths)
    if args.dry_run:
        # Eight steps teach nothing; that the two forward passes agree holds at any weights.
        check.rows = [row for row in check.rows if "logit" in row["what"]]
    results = {"dry_run": args.dry_run, "lengths": lengths, "unigram_perplexity": unigram,
               "models": models, "checks": check.rows,
               "ok": all(row["ok"] for row in check.rows)}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "tables.md").write_text(report(results))
    print((folder / "tables.md").read_text())
    for row in check.rows:
        if not row["ok"]:
            print(f"gpu: {row['what']}: {row['value']:.6g}, expected {row['expected']}",
                  file=sys.stderr)
    return 0 if results["ok"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        sys.exit(1)
