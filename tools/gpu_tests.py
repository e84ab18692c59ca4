"""The trainer's tests on a machine with a GPU, by ctest; and those of the kernels under NVIDIA's compute-sanitizer.

  gpu_tests.py tests     --build build/trainer-only --folder FOLDER              those that need a GPU
  gpu_tests.py others    --build build/trainer-only --folder FOLDER [--jobs N]   all others
  gpu_tests.py sanitizer --build build/trainer-only --folder FOLDER [--seconds N]

Called by tools/gpu.sh. Each writes its rows to FOLDER/tests.json, FOLDER/others.json or FOLDER/sanitizer.json, the last
again after each run: what ran, its status and its seconds.

`tests` then repeats the tests that compare bits, all at once, with CUDA_LAUNCH_BLOCKING=1: each kernel ends before the
host goes on, so what depends on the order of calls differs from before. `sanitizer` has small shapes. A run of either
in which no test passes but the one that looks for a GPU has failed, whatever its exit code. --seconds is for
all of its runs: one that takes longer is ended, and named. --dry-run only names the runs. Exits with 1 if something
failed or did not run, and with 77 if nothing ran, since there is no compute-sanitizer. Standard library only.
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
SANITIZER = "compute-sanitizer"
TOOLKIT = ["/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]
ERROR = 99  # what compute-sanitizer ends with if it has found something
NOT_RUN = 77  # what tools/gpu.sh takes for a stage that did not run


def write(path, rows):
    path.write_text(json.dumps(rows, indent=1) + "\n")


def ctest(args, labels, jobs):
    """(rows, 1 if something failed)"""
    junit = args.folder.resolve() / f"{args.what}.xml"
    junit.unlink(missing_ok=True)
    what = f"ctest {' '.join(labels)} in {args.build}"
    # Replaced below, unless the stage is ended before: ctest writes its rows at the end.
    begun = {"what": what, "status": f"not ended; see {args.what}.log", "seconds": 0}
    write(args.folder / f"{args.what}.json", [begun])
    # With LONGRUN_GPU_TESTS=1 a GPU test that finds no GPU fails; without, it skips.
    code = subprocess.run(
        ["ctest", "--test-dir", str(args.build), *labels, "--output-on-failure", "-j", str(jobs), "--output-junit",
         str(junit)], check=False, env=os.environ | {"LONGRUN_GPU_TESTS": "1"}).returncode
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
    rows, code = ctest(args, ["-L", "gpu"], 4)

    def blocking(program, tests_of, is_single):
        begin = time.monotonic()
        status = ended(args, [str(args.build / "tests" / program)], tests_of, is_single, BLOCKING_SECONDS,
                       {"CUDA_LAUNCH_BLOCKING": "1"})
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
    return ctest(args, ["-LE", "gpu"], args.jobs)[1]


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
        try:
            process = subprocess.Popen(command, env=environment | variables, start_new_session=True)
        except OSError as error:
            return f"cannot be run: {error}"
        with process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                # With the program that it watches, which would keep the GPU.
                os.killpg(process.pid, signal.SIGKILL)
                return f"did not end within {seconds:.0f} seconds"
        if code == 0 and not [name for name in passed(result) if THERE_IS_A_GPU not in name]:
            return f"no test ran; see {log}"
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
    rows, end = [], time.monotonic() + args.seconds
    for tool, program, tests_of, is_single in SANITIZED:
        begin = time.monotonic()
        command = [found, "--tool", tool, "--error-exitcode", str(ERROR), str(args.build / "tests" / program)]
        if args.dry_run:
            status = "not run: a dry run"
        elif begin >= end:
            status = "not run: the time was up"
        else:
            status = ended(args, command, tests_of, is_single, end - begin, {})
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
    return {"tests": tests, "others": others, "sanitizer": sanitizer}[args.what](args)


if __name__ == "__main__":
    sys.exit(main())
