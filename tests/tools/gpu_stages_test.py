"""tools/gpu.sh beside a GPU, a CMake and programs that are made here: which stage runs what, and what becomes of it.

The Python programs read their arguments, and do nothing else: a stage that gives one that does not exist fails.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGES = ["tests", "sanitizer", "checks", "attention", "rows", "bench", "models", "timeline", "others"]

# Runs the program that is its first argument until its arguments are read, and writes them down.
READS_ARGUMENTS = """
import argparse, json, os, runpy, sys
read = argparse.ArgumentParser.parse_args
def parse_args(self, *rest):
    read(self, *rest)
    with open(os.environ["STAND_IN_CALLS"], "a") as calls:
        calls.write(json.dumps(sys.argv) + "\\n")
    sys.exit(int(os.environ["STAND_IN_CODE"]) if os.path.basename(sys.argv[0]) == os.environ["STAND_IN_WRONG"] else 0)
argparse.ArgumentParser.parse_args = parse_args
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class GpuStagesTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root = self.folder / "checkout"
        (self.root / "tools").mkdir(parents=True)
        for tool in ROOT.glob("tools/gpu*"):
            shutil.copy(tool, self.root / "tools")
        (self.root / "sweeps").mkdir()
        shutil.copy(ROOT / "sweeps/quickstart.yaml", self.root / "sweeps")
        for name in (".deps/include/nlohmann/json.hpp", ".deps/googletest/googletest/src/gtest-all.cc",
                     "torch/lib/libtorch_cpu.so"):
            self.write(self.root / name, "")
        (self.folder / "reads_arguments.py").write_text(READS_ARGUMENTS)
        self.program("programs/nvidia-smi", "echo 'GPU 0: a stand-in'")
        self.program("programs/cmake", "echo cmake \"$@\"")
        self.program("programs/python3", f'exec {sys.executable} -B {self.folder}/reads_arguments.py "$@"')
        built = "checkout/build/trainer-only/bin"
        self.program(f"{built}/longrun-trainer", "echo longrun-trainer 0")
        self.program(f"{built}/longrun-cuda-rows-bench", """echo '{"bench": "cuda_rows"}'""")
        self.program(f"{built}/longrun-head-bench", """echo '{"bench": "head", "device": "'$1'"}'""")

    @staticmethod
    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def program(self, name, script):
        self.write(self.folder / name, f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def environment(self, wrong, wrong_code, seconds):
        return {**os.environ, "PATH": f"{self.folder}/programs:/usr/bin:/bin", "JOBS": "3",
                "LONGRUN_TORCH_ROOT": str(self.root / "torch"), "STAND_IN_CALLS": str(self.folder / "calls"),
                "STAND_IN_WRONG": wrong, "STAND_IN_CODE": str(wrong_code), "SECONDS": str(seconds)}

    def run_stages(self, *options, wrong="none", wrong_code=7, seconds=0):
        """(exit code, {stage: status} in their order, the calls of Python programs), where the program `wrong` fails,
        and so many seconds have passed already."""
        calls, out = self.folder / "calls", self.root / "out"
        calls.write_text("")
        done = subprocess.run([self.root / "tools/gpu.sh", *options, "out"], check=False, capture_output=True, text=True,
                              env=self.environment(wrong, wrong_code, seconds))
        self.said = done.stderr
        rows = json.loads((out / "stages.json").read_text()) if (out / "stages.json").exists() else []
        return (done.returncode, {row["stage"]: row["status"] for row in rows},
                [json.loads(line) for line in calls.read_text().splitlines()])

    def test_each_stage_runs_once_with_arguments_that_exist(self):
        for options in ([], ["--whole"]):
            code, statuses, calls = self.run_stages(*options)
            self.assertEqual((code, list(statuses.items())), (0, [(stage, "ok") for stage in STAGES]), self.said)
            self.assertEqual([pathlib.Path(call[0]).name for call in calls], [
                "gpu_tests.py", "gpu_tests.py", "gpu_checks.py", "gpu_attention_bench.py", "gpu_bench.py",
                "gpu_models.py", "gpu_timeline.py", "gpu_tests.py"])
            self.assertEqual({call[call.index("--folder") + 1] for call in calls}, {"out"})
            self.assertEqual((self.root / "out/rows.jsonl").read_text().splitlines(),
                             ['{"bench": "cuda_rows"}', '{"bench": "head", "device": "cuda"}'])

    def test_attention_measures_all_goals_within_its_time(self):
        _, _, [call] = self.run_stages("--stages", "attention")
        self.assertEqual(call[1:3], ["--goals", "all"])
        self.assertLessEqual(int(call[call.index("--seconds") + 1]), 200)
        self.assertNotIn("--shapes", call)
        _, _, [call] = self.run_stages("--stages", "attention", "--whole")
        self.assertEqual(call[1:3], ["--goals", "all"])
        self.assertIn("--shapes", call)
        self.assertNotIn("--seconds", call)

    def test_each_run_that_ends_by_itself_has_less_than_is_left_of_its_stage(self):
        whole = {"tests": 230, "sanitizer": 230, "attention": 200, "bench": 180, "others": 590}
        a_minute = {"tests": 50, "sanitizer": 50, "attention": 30, "bench": 30, "others": 50}
        for passed, expected in ((0, whole), (29 * 60, a_minute)):
            for stage, most in expected.items():
                _, statuses, [call] = self.run_stages("--stages", stage, "--minutes", "30", seconds=passed)
                self.assertEqual(statuses, {stage: "ok"})
                given = int(call[call.index("--seconds") + 1])
                # Some of them pass before the stage begins.
                self.assertTrue(most - 15 <= given <= most, f"{stage} after {passed} seconds: {given}, not {most}")
        for stage in ("tests", "sanitizer", "others"):
            _, _, [call] = self.run_stages("--stages", stage, "--whole", seconds=8 * 60)
            self.assertGreaterEqual(int(call[call.index("--seconds") + 1]), 35000)

    def test_a_sanitizer_whose_time_ends_with_its_stage_leaves_its_rows(self):
        # The real program, and a sanitizer that starts another and ignores the first signal.
        self.program("programs/compute-sanitizer", "trap '' TERM; tail -f /dev/null & wait; wait")
        self.program("programs/python3", f'exec {sys.executable} -B "$@"')
        code, statuses, _ = self.run_stages("--stages", "sanitizer", "--minutes", "1", seconds=30)
        self.assertEqual((code, statuses), (1, {"sanitizer": "exit code 1; see sanitizer.log"}))
        rows = json.loads((self.root / "out/sanitizer.json").read_text())
        self.assertRegex(rows[0]["status"], "^did not end within ([1-9]|1[0-9]|20) seconds$")
        self.assertEqual({row["status"] for row in rows[1:]}, {"not run: the time was up"})

    def test_what_a_stage_leaves_behind_does_not_hold_the_next(self):
        left = self.folder / "left"
        self.program("programs/python3", f"[ -e {left} ] || {{ setsid sleep 900 & echo $! > {left}; }}")
        try:
            begin = time.monotonic()
            code, statuses, _ = self.run_stages("--stages", "checks,models")
            self.assertEqual((code, statuses), (0, {"checks": "ok", "models": "ok"}))
            self.assertLess(time.monotonic() - begin, 120)
        finally:
            os.kill(int(left.read_text()), signal.SIGKILL)

    def test_a_stage_that_fails_is_named_and_the_others_run(self):
        code, statuses, _ = self.run_stages(wrong="gpu_attention_bench.py")
        self.assertEqual(code, 1)
        self.assertEqual({stage: status for stage, status in statuses.items() if status != "ok"},
                         {"attention": "exit code 7; see attention.log"})
        self.assertEqual(list(statuses), STAGES)

    def test_a_stage_that_did_not_run_is_named_and_the_script_says_that_not_all_was_run(self):
        code, statuses, _ = self.run_stages("--stages", "sanitizer,checks", wrong="gpu_tests.py", wrong_code=77)
        self.assertEqual((code, statuses), (1, {"sanitizer": "not run; see sanitizer.log", "checks": "ok"}))

    def test_without_a_sanitizer_not_all_was_run(self):
        # The real program, on a machine that has no such program.
        (self.folder / "real.py").write_text(
            "import sys; sys.path.insert(0, 'tools'); import gpu_tests\n"
            "gpu_tests.SANITIZER, gpu_tests.TOOLKIT = 'no-such-sanitizer', []\n"
            "sys.exit(gpu_tests.main())\n")
        self.program("programs/python3", f'shift; exec {sys.executable} -B {self.folder}/real.py "$@"')
        code, statuses, _ = self.run_stages("--stages", "sanitizer")
        self.assertEqual((code, statuses), (1, {"sanitizer": "not run; see sanitizer.log"}))
        self.assertIn("not run: there is no no-such-sanitizer on the PATH",
                      (self.root / "out/sanitizer.log").read_text())

    def test_a_program_that_fails_is_a_failed_stage(self):
        self.program("checkout/build/trainer-only/bin/longrun-cuda-rows-bench", "exit 3")
        code, statuses, _ = self.run_stages("--stages", "rows,others")
        self.assertEqual((code, statuses), (1, {"rows": "exit code 3; see rows.log", "others": "ok"}))

    def test_the_other_tests_are_not_run_if_they_cannot_be_built(self):
        self.program("programs/cmake", 'case "$*" in *--target*) ;; *--build*) exit 2 ;; esac')
        code, statuses, calls = self.run_stages("--stages", "others")
        self.assertEqual((code, statuses, calls), (1, {"others": "exit code 2; see others.log"}, []))

    def archived(self):
        """{path: text} of the archive."""
        with tarfile.open(self.root / "results/gpu.tar.gz") as archive:
            return {member.name: archive.extractfile(member).read().decode() for member in archive.getmembers()}

    def test_the_archive_has_what_each_stage_left(self):
        self.program("programs/python3", "mkdir -p out/bench/train; echo {} > out/bench.json; "
                     "echo log > out/bench/train.log; echo weights > out/bench/train/model; exit 3")
        for archive in ("results/gpu.tar.gz", "out/gpu.tar.gz"):
            for options, status in (([], "exit code 3; see bench.log"), (
                    ["--minutes", "0"], "not run: 0 minutes have passed; run it by --stages bench")):
                code, statuses, _ = self.run_stages("--stages", "bench", "--archive", archive, *options)
                self.assertEqual((code, statuses), (1, {"bench": status}))
        found = self.archived()
        self.assertEqual(json.loads(found["./stages.json"])[0]["stage"], "bench")
        self.assertLessEqual({"./machine.txt", "./stages.json"}, set(found))
        self.run_stages("--stages", "bench", "--archive", "results/gpu.tar.gz")
        self.assertEqual(set(self.archived()), {"./machine.txt", "./stages.json", "./bench.json", "./bench.log",
                                                "./bench/train.log"})
        self.assertEqual({path.name for path in (self.root / "results").iterdir()}, {"gpu.tar.gz"})

    def test_a_script_that_is_killed_leaves_the_archive_of_the_stages_before(self):
        waits = self.folder / "waits"
        self.program("programs/python3", f"case $1 in *gpu_models*) echo > {waits}; exec sleep 900 ;; esac")
        with subprocess.Popen([self.root / "tools/gpu.sh", "--stages", "checks,models", "--archive",
                               "results/gpu.tar.gz", "out"], env=self.environment("none", 0, 0), start_new_session=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 60
                while not waits.exists():
                    self.assertLess(time.monotonic(), end)
                    time.sleep(0.05)
            finally:
                for found in pathlib.Path("/proc").glob("[0-9]*/stat"):
                    with contextlib.suppress(OSError):  # a process that has ended
                        if found.read_text().rsplit(") ", 1)[1].split()[3] == str(process.pid):
                            os.kill(int(found.parent.name), signal.SIGKILL)
        self.assertEqual([row["stage"] for row in json.loads(self.archived()["./stages.json"])], ["checks"])

    def test_a_trainer_that_is_given_is_not_built(self):
        cmake = self.folder / "cmake.calls"
        self.program("programs/cmake", f'case "$1" in --version) ;; *) echo "$@" >> {cmake} ;; esac')
        (self.root / "build/trainer-only").rename(self.root / "copied")
        code, statuses, calls = self.run_stages("--trainer", "copied/bin/longrun-trainer")
        self.assertEqual((code, statuses), (0, dict.fromkeys(STAGES, "ok")), self.said)
        self.assertFalse(cmake.exists())
        builds = {call[call.index("--build") + 1] for call in calls if "--build" in call}
        self.assertEqual(builds, {"copied"})

    def test_without_a_gpu_nothing_is_built(self):
        self.program("programs/nvidia-smi", "exit 9")
        code, statuses, calls = self.run_stages()
        self.assertEqual((code, statuses, calls), (69, {}, []))


if __name__ == "__main__":
    unittest.main()
