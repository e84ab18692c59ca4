"""./dev bench [NAME...]: benchmarks of the build in build/release, as a table and as JSON.

Each measurement stands beside a baseline that was taken in the same minutes, round by round in turn;
what is printed is the median and the quartiles. Without a NAME all are run:

  start      how long `longrun version` takes (target: below 50 ms), beside /bin/true; and a reading
             command that starts a coordinator for its moment
  journal    records through the journal, beside plain writes of the same bytes
  train      tokens/s of the quick start's model on the CPU, each position method beside "none"
  simulator  simulated histories of the scheduler per second
  tokenizer  text to the ids of GPT-2, beside tiktoken where it is installed (bench_tokenizer.py)

Writes build/bench/results.json. Standard library only.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench_tokenizer import bench_tokenizer
from gpu_models import MODEL, NOVEL_VALIDATION, NOVELS_TRAIN, TRAIN

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"  # or as --bin says
ROUNDS = 7
TRAIN_STEPS = 40
TRAIN_STEPS_WARM = 10  # of them left out: the first steps allocate
SIMULATED_SEEDS = 200


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
    return {"name": name, "unit": unit, "ours": ours, "baseline": baseline,
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


def bench_journal(_):
    out = subprocess.run([str(BIN / "longrun-journal-bench")], check=True, capture_output=True,
                         text=True).stdout
    for line in out.splitlines():
        one = json.loads(line)
        yield measured(one["name"], one["unit"], one["ours"], one["baseline"],
                       one["what_baseline"])


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


def bench_simulator(args):
    rates = [SIMULATED_SEEDS / seconds([str(BIN / "longrun-sim"), "--seed",
                                        str(args.seed + round_ * SIMULATED_SEEDS), "--seeds",
                                        str(SIMULATED_SEEDS)]) for round_ in range(ROUNDS)]
    yield measured("simulator: histories", "seeds/s", rates)


BENCHES = {"start": bench_start, "journal": bench_journal, "train": bench_train,
           "simulator": bench_simulator,
           "tokenizer": lambda _: bench_tokenizer(BIN, measured)}


def spread(values):
    """(median, lower quartile, upper quartile)"""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def text(values):
    median, lower, upper = spread(values)
    digits = 0 if median >= 100 else 1
    return f"{median:,.{digits}f} ({lower:,.{digits}f} - {upper:,.{digits}f})"


def machine():
    name = "CPU"
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            name = line.split(": ", 1)[1].strip()
            break
    version = subprocess.run([str(BIN / "longrun"), "version"], check=True, capture_output=True,
                             text=True).stdout.strip()
    return {"cpu": name, "cores": os.cpu_count(), "kernel": platform.release(), "version": version,
            "load": os.getloadavg()[0], "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def main():
    global BIN
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--seed", type=int, default=1, help="the simulator's first")
    parser.add_argument("--output", default=str(ROOT / "build/bench/results.json"))
    parser.add_argument("--bin", default=str(BIN), help="folder of the programs")
    args = parser.parse_args()
    BIN = pathlib.Path(args.bin).resolve()
    unknown = set(args.names) - set(BENCHES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")

    results = {"machine": machine(), "measurements": []}
    about = results["machine"]
    print(f"{about['version']}\n{about['cpu']}, {about['cores']} cores, load {about['load']:.1f}\n"
          "median (quartiles)\n")
    row = "{:52} {:>9} {:>28} {:>28}  {}"
    print(row.format("", "", "ours", "baseline", ""))
    for name in args.names or BENCHES:
        for one in BENCHES[name](args):
            results["measurements"].append(one)
            print(row.format(one["name"], one["unit"], text(one["ours"]),
                             text(one["baseline"]) if one["baseline"] else "-",
                             one["what_baseline"] or (f"target {one['target']}" if one["target"]
                                                      else "")), flush=True)
    output = pathlib.Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
