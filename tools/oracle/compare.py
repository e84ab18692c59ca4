"""Compares longrun-trainer with the original implementations, a line a case.

    python3 tools/oracle/compare.py --trainer PATH [--only forward,attention,bodies,...] [-k WORD]

Ends with 1 when a case differs by more than its limit. README.md says what it needs.
"""
import argparse
import os
import subprocess
import sys
import tempfile

PARTS = ("forward", "attention", "bodies", "random", "formats", "hostile", "train")


class Trainer:
    """longrun-trainer as a process."""

    def __init__(self, path):
        self.path = path

    def run(self, *arguments):
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1")
        # What lets Python find its LibTorch is no part of the trainer's world.
        environment.pop("LD_LIBRARY_PATH", None)
        return subprocess.run([self.path, *map(str, arguments)], env=environment,
                              capture_output=True, text=True, check=False)


class Report:
    """Prints as it goes, and remembers what failed."""

    def __init__(self, word):
        self.word = word
        self.n = 0
        self.failed = []

    def wants(self, name):
        return self.word in name

    def difference(self, name, value, limit):
        self.line(name, value <= limit, f"max abs difference {value:.2e} (limit {limit:g})")

    def line(self, name, passed, text):
        self.n += 1
        if not passed:
            self.failed.append(name)
        print(f"{'ok  ' if passed else 'FAIL'} {name:<58} {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trainer", required=True, help="the program longrun-trainer")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("-k", default="", help="only cases whose name has this word")
    options = parser.parse_args()
    report = Report(options.k)
    trainer = Trainer(os.path.abspath(options.trainer))
    chosen = options.only.split(",")
    if set(chosen) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as scratch:
        for part in chosen:
            folder = os.path.join(scratch, part)
            os.mkdir(folder)
            __import__(f"check_{part}").check(trainer, report, folder)
    print(f"{report.n} cases, {len(report.failed)} failed")
    for name in report.failed:
        print("failed:", name)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
