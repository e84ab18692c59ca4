"""The trainer's tests on a machine with a GPU, by ctest; and those of the kernels under NVIDIA's compute-sanitizer.

  gpu_tests.py tests     --build build/trainer-only --folder FOLDER [--seconds N]              those that need a GPU
  gpu_tests.py others    --build build/trainer-only --folder FOLDER [--seconds N] [--jobs N]   all others
  gpu_tests.py sanitizer --build build/trainer-only --folder FOLDER [--seconds N]

Called by tools/gpu.sh. Each writes its rows to FOLDER/tests.json, FOLDER/others.json or FOLDER/sanitizer.json, the last
again after each run: what ran, its status and its seconds.

`tests` then repeats the tests that compare bits, all at once, with CUDA_LAUNCH_BLOCKING=1: each kernel ends before the
host goes on, so what depends on the order of calls differs from before. `sanitizer` has small shapes. A run of either
in which no test passes but the one that looks for a GPU has failed, whatever its exit code. --seconds is for all runs
of a stage, ctest's too: one that takes longer is ended, and named. On a signal, what runs is ended, and the rows say
so. --dry-run only names the runs. Exits with 1 if something failed or did not run, and with 77 if nothing ran, since
there is no compute-sanitizer. Standard library only.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ATTENTION, ROWS = "test_kernels_conformance_cuda", "test_kernels_rows_cuda"
# A test of both programs. Without a GPU most of their other tests do not exist, so a filter that
# has none but these would find nothing, and nothing is no failure to GoogleTest.
THERE_IS_A_GPU = "ThereIsAGpu"
# (program, filter of GoogleTest, backward in a single kernel)
COMPARING_BITS = [
    (ATTENTION, "GpuTest.*", False),
    (ATTENTION, "GpuTest.*", True),
    (ROWS, "*TheSameCallGivesTheSameBitsEachTime*", False),
]
BLOCKING_SECONDS = 120.0
# (tool, program, filter of GoogleTest, backward in a single kernel), the most telling first.
# Racecheck takes several times as long as memcheck, so it has fewer tests. Initcheck finds reads of
# global memory that nobody has written, synccheck barriers that not all threads reach.
SANITIZED = [
    ("memcheck", ROWS, "*", False),
    ("memcheck", ATTENTION, "*FewTerms*:*LengthsAroundTiles*", False),
    ("racecheck", ROWS, "*Shape*:*Hidden*:*Adam*", False),
    ("racecheck", ATTENTION, "*FewTerms*", False),
    ("initcheck", ROWS, "*", False),
    ("synccheck", ROWS, "*", False),
    ("initcheck", ATTENTION, "*FewTerms*:*AQueryOfKeys*", False),
    ("synccheck", ATTENTION, "*FewTerms*:*AQueryOfKeys*", False),
    ("memcheck", ATTENTION, "*FewTerms*:*SharedKeyHeads*", True),
    ("racecheck", ATTENTION, "*FewTerms*", True),
    ("initcheck", ATTENTION, "*FewTerms*", True),
    ("synccheck", ATTENTION, "*FewTerms*", True),
    ("memcheck", ATTENTION, "*MasksOver*", False),
    ("racecheck", ATTENTION, "*MasksOver*", False),
    ("racecheck", ATTENTION, "*MasksOver*", True),
    ("memcheck", ATTENTION, "*TwoSided*", False),
    ("racecheck", ATTENTION, "*TwoSidedBiasesOver*", False),
    ("memcheck", ATTENTION, "*Piecewise*", False),
    ("racecheck", ATTENTION, "*PiecewiseLinearBiasesOver*", False),
    ("memcheck", ATTENTION, "*FewQueries*:*AQueryOfKeys*", False),
    ("racecheck", ATTENTION, "*AQueryOfKeys*:*FewQueriesOfManyKeys*", False),
    ("memcheck", ATTENTION, "*Skip*:*AKeyThatEvery*:*OneHuge*", False),
    ("memcheck", ATTENTION, "*Fp16*:*Plain*", False),
    ("racecheck", ATTENTION, "*AKeyThatEvery*:*OneHuge*", False),
    ("memcheck", ATTENTION, "*WideHeads*:*WhatIsLeft*", False),
    ("initcheck", ATTENTION, "*MasksOver*:*TwoSidedBiasesOver*:*PiecewiseLinearBiasesOver*:*Skip*", False),
    ("synccheck", ATTENTION, "*MasksOver*:*TwoSidedBiasesOver*:*PiecewiseLinearBiasesOver*:*Skip*", False),
]
# What the tests' data lie in, for tools that watch allocations (tests/kernels/cuda_memory.h).
PIECES = {"memcheck": "own", "initcheck": "unwritten"}
SANITIZER = "compute-sanitizer"
TOOLKIT = ["/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]
ERROR = 99  # what compute-sanitizer ends with if it has found something
TIME_WAS_UP = "not run: the time was up"
NOT_RUN = 77  # what tools/gpu.sh takes for a stage that did not run


def write(path, rows):
    path.write_text(json.dumps(rows, indent=1) + "\n")


class Programs:
    """The programs that run. Each has a session of its own, and is ended with all that it has begun there: what a
    sanitizer watches or ctest has started would keep the GPU, and the pipe of our output."""

    def __init__(self):
        self.running, self.is_ending = set(), False

    def end(self, *_):
        """For a signal: no program runs on or begins."""
        self.is_ending = True
        for process in list(self.running):
            self.kill(process)

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def run(self, command, environment, seconds):
        """(exit code, None) or (None, why there is none)."""
        try:
            process = subprocess.Popen(command, env=environment, start_new_session=True)
        except OSError as error:
            return None, f"cannot be run: {error}"
        with process:
            self.running.add(process)
            if self.is_ending:  # while it began
                self.kill(process)
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill(process)
                return None, f"did not end within {seconds:.0f} seconds"
            finally:
                self.running.discard(process)
        return (None, "did not end within its stage") if self.is_ending else (code, None)


PROGRAMS = Programs()


class Deadline:
    """When all runs of a stage must have ended."""

    def __init__(self, seconds):
        self.at = time.monotonic() + seconds

    def left(self):
        """Seconds; at most 0: no run begins."""
        return 0.0 if PROGRAMS.is_ending else self.at - time.monotonic()


def ctest(args, labels, jobs, deadline):
    """(rows, 1 if something failed)"""
    begin, junit = time.monotonic(), args.folder.resolve() / f"{args.what}.xml"
    junit.unlink(missing_ok=True)
    what = f"ctest {' '.join(labels)} in {args.build}"
    # Replaced below, unless the stage is ended before: ctest writes its rows at the end.
    begun = {"what": what, "status": f"not ended; see {args.what}.log", "seconds": 0}
    write(args.folder / f"{args.what}.json", [begun])
    # With LONGRUN_GPU_TESTS=1 a GPU test that finds no GPU fails; without, it skips.
    code, why = PROGRAMS.run(
        ["ctest", "--test-dir", str(args.build), *labels, "--output-on-failure", "-j", str(jobs), "--output-junit",
         str(junit)], os.environ | {"LONGRUN_GPU_TESTS": "1"}, max(0.0, deadline.left()))
    if why is not None:
        rows = [{"what": what, "status": f"{why}; see {args.what}.log", "seconds": round(time.monotonic() - begin, 1)}]
        write(args.folder / f"{args.what}.json", rows)
        return rows, 1
    rows = []
    if junit.exists():
        rows = [{"what": case.get("name"), "status": case.get("status"), "seconds": float(case.get("time"))}
                for case in xml.etree.ElementTree.parse(junit).iter("testcase")]
        junit.unlink()
    if not rows:
        rows = [{"what": what, "status": f"no test ran; exit code {code}", "seconds": 0}]
        code = 1
    write(args.folder / f"{args.what}.json", rows)
    return rows, 1 if code != 0 else 0


def what_ran(program, tests_of, is_single):
    return f"{program} {tests_of}" + (", backward in a single kernel" if is_single else "")


def tests(args):
    deadline = Deadline(args.seconds)
    rows, code = ctest(args, ["-L", "gpu"], 4, deadline)

    def blocking(program, tests_of, is_single):
        begin, seconds = time.monotonic(), min(BLOCKING_SECONDS, deadline.left())
        status = TIME_WAS_UP if seconds <= 0 else ended(
            args, [str(args.build / "tests" / program)], tests_of, is_single, seconds, {"CUDA_LAUNCH_BLOCKING": "1"})
        return {"what": f"CUDA_LAUNCH_BLOCKING=1 {what_ran(program, tests_of, is_single)}", "status": status,
                "seconds": round(time.monotonic() - begin, 1)}

    # At once, so that the GPU also has other work.
    with concurrent.futures.ThreadPoolExecutor(len(COMPARING_BITS)) as pool:
        found = list(pool.map(lambda one: blocking(*one), COMPARING_BITS))
    write(args.folder / "tests.json", rows + found)
    for row in found:
        print(f"{row['what']}: {row['status']}", flush=True)
    return code if all(row["status"] == "ok" for row in found) else 1


def others(args):
    return ctest(args, ["-LE", "gpu"], args.jobs, Deadline(args.seconds))[1]


def passed(result):
    """The names of the tests that passed, of a result that GoogleTest wrote as JSON; none if it wrote none."""
    try:
        suites = json.loads(pathlib.Path(result).read_text())["testsuites"]
    except (OSError, ValueError):
        return []
    return [test["name"] for suite in suites for test in suite["testsuite"]
            if test["result"] == "COMPLETED" and not test.get("failures")]


def ended(args, command, tests_of, is_single, seconds, variables):
    """What a run of a program of GoogleTest ended with."""
    environment = os.environ | {"LONGRUN_GPU_TESTS": "1", "LONGRUN_TEST_SINGLE_BACKWARD": "1" if is_single else "0"}
    log = f"{args.what}.log"
    with tempfile.TemporaryDirectory() as folder:
        result = f"{folder}/result.json"
        command = [*command, f"--gtest_filter={tests_of}:*{THERE_IS_A_GPU}*", f"--gtest_output=json:{result}"]
        print("+", *command, flush=True)
        code, why = PROGRAMS.run(command, environment | variables, seconds)
        if why is not None:
            return why
        if code == 0 and {THERE_IS_A_GPU in name for name in passed(result)} != {True, False}:
            return f"no test ran on a GPU; see {log}"
    return {0: "ok", ERROR: f"errors were found; see {log}"}.get(code, f"exit code {code}; see {log}")


def sanitizer(args):
    path = os.pathsep.join([os.environ.get("PATH", ""), *TOOLKIT])
    found = SANITIZER if args.dry_run else shutil.which(SANITIZER, path=path)
    if found is None:
        message = (f"not run: there is no {SANITIZER} on the PATH or in {', '.join(TOOLKIT)}; install the one of "
                   "NVIDIA's CUDA toolkit")
        print(f"gpu: sanitizer: {message}", flush=True)
        write(args.folder / "sanitizer.json", [{"what": SANITIZER, "status": message, "seconds": 0}])
        return NOT_RUN
    rows, deadline = [], Deadline(args.seconds)
    for tool, program, tests_of, is_single in SANITIZED:
        begin, seconds = time.monotonic(), deadline.left()
        command = [found, "--tool", tool, "--error-exitcode", str(ERROR), str(args.build / "tests" / program)]
        if args.dry_run:
            status = "not run: a dry run"
        elif seconds <= 0:
            status = TIME_WAS_UP
        else:
            status = ended(args, command, tests_of, is_single, seconds,
                           {"LONGRUN_TEST_GPU_PIECES": PIECES.get(tool, "pool")})
        what = f"{tool} {what_ran(program, tests_of, is_single)}"
        rows.append({"what": what, "status": status, "seconds": round(time.monotonic() - begin, 1)})
        print(f"{what}: {status}", flush=True)
        write(args.folder / "sanitizer.json", rows)
    return 0 if args.dry_run or all(row["status"] == "ok" for row in rows) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["tests", "others", "sanitizer"])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", default=600.0, type=float)
    parser.add_argument("--jobs", default=4, type=int)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, PROGRAMS.end)
    return {"tests": tests, "others": others, "sanitizer": sanitizer}[args.what](args)


if __name__ == "__main__":
    sys.exit(main())
