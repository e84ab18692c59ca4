"""tools/gpu_tests.py with a compute-sanitizer and a ctest that are made here, since the real ones need a GPU."""
import contextlib
import fnmatch
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import gpu_tests  # noqa: E402

SOURCES = {gpu_tests.ATTENTION: ["conformance"], gpu_tests.ROWS: ["norm", "activation", "cross_entropy", "cuda_rows"]}


def with_results(*tests, result="COMPLETED"):
    """A line of a shell script: writes what GoogleTest writes of these tests, to the file that it is told."""
    rows = [{"name": name, "status": "RUN", "result": result} for name in tests]
    text = json.dumps({"testsuites": [{"name": "Suite", "testsuite": rows}] if rows else []})
    return f"""for a; do case $a in --gtest_output=json:*) echo '{text}' > "${{a#*json:}}" ;; esac; done"""


PASSES = with_results("ThereIsAGpu", "FewTerms/0")


class GpuTestsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(gpu_tests, "TOOLKIT", []))

    @staticmethod
    def make_programs(folder, scripts):
        folder.mkdir(parents=True, exist_ok=True)
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)

    def run_stage(self, what, scripts, *options):
        """(exit code, rows, what was printed), where these shell scripts are all that the PATH has before /bin."""
        programs = self.folder / "programs"
        self.make_programs(programs, scripts)
        arguments = ["gpu_tests.py", what, "--build", "/a/build", "--folder", str(self.folder), *options]
        printed = io.StringIO()
        with mock.patch.dict(os.environ, {"PATH": f"{programs}:/bin"}), mock.patch.object(sys, "argv", arguments), \
                mock.patch.object(signal, "signal"), contextlib.redirect_stdout(printed):
            code = gpu_tests.main()
        return code, json.loads((self.folder / f"{what}.json").read_text()), printed.getvalue()

    def test_without_a_sanitizer_the_stage_says_that_it_did_not_run(self):
        code, rows, printed = self.run_stage("sanitizer", {})
        self.assertEqual(code, 77)
        self.assertIn("not run: there is no compute-sanitizer on the PATH", rows[0]["status"])
        self.assertIn(rows[0]["status"], printed)

    def test_each_run_has_its_tool_program_and_filter(self):
        calls = self.folder / "calls"
        code, rows, _ = self.run_stage(
            "sanitizer", {"compute-sanitizer":
                          f'echo "$@ single=$LONGRUN_TEST_SINGLE_BACKWARD $LONGRUN_TEST_GPU_PIECES" >> {calls}; {PASSES}'})
        self.assertEqual(code, 0)
        self.assertEqual([row["status"] for row in rows], ["ok"] * len(gpu_tests.SANITIZED))
        pieces = {"memcheck": "own", "initcheck": "unwritten", "racecheck": "pool", "synccheck": "pool"}
        self.assertEqual(re.sub(" --gtest_output=json:[^ ]+", "", calls.read_text()).splitlines(), [
            f"--tool {tool} --error-exitcode 99 /a/build/tests/{program} --gtest_filter={tests}:*ThereIsAGpu* "
            f"single={int(is_single)} {pieces[tool]}" for tool, program, tests, is_single in gpu_tests.SANITIZED])

    def test_a_run_of_no_test_is_a_failure(self):
        for script in ("exit 0", with_results(), with_results("ThereIsAGpu"), with_results("FewTerms/0"),
                       with_results("FewTerms/0", result="SKIPPED"), with_results("FewTerms/0", result="SUPPRESSED")):
            code, rows, _ = self.run_stage("sanitizer", {"compute-sanitizer": script})
            self.assertEqual((code, {row["status"] for row in rows}), (1, {"no test ran on a GPU; see sanitizer.log"}), script)
            code, rows, _ = self.blocking(script)
            self.assertEqual((code, {row["status"] for row in rows[1:]}), (1, {"no test ran on a GPU; see tests.log"}), script)

    def test_both_programs_have_a_test_that_looks_for_a_gpu(self):
        for source in ("conformance_cuda", "rows_cuda"):
            self.assertRegex((ROOT / f"tests/kernels/{source}.cc").read_text(),
                             rf"TEST(_F)?\(\w+, {gpu_tests.THERE_IS_A_GPU}\)", source)

    def test_a_dry_run_names_the_runs(self):
        code, rows, printed = self.run_stage("sanitizer", {}, "--dry-run")
        self.assertEqual(code, 0)
        self.assertEqual({row["status"] for row in rows}, {"not run: a dry run"})
        self.assertIn("racecheck test_kernels_rows_cuda *Shape*:*Hidden*:*Adam*: not run: a dry run", printed)

    def test_errors_and_crashes_are_told_apart(self):
        code, rows, _ = self.run_stage("sanitizer", {"compute-sanitizer": "[ $2 = racecheck ] && exit 99; exit 1"})
        self.assertEqual(code, 1)
        self.assertEqual({row["status"] for row in rows},
                         {"errors were found; see sanitizer.log", "exit code 1; see sanitizer.log"})

    def test_a_run_that_takes_too_long_is_ended_and_the_others_are_named(self):
        code, rows, _ = self.run_stage("sanitizer", {"compute-sanitizer": "exec tail -f /dev/null"}, "--seconds", "0.5")
        self.assertEqual(code, 1)
        self.assertIn("did not end within", rows[0]["status"])
        self.assertEqual({row["status"] for row in rows[1:]}, {"not run: the time was up"})
        self.assertEqual(len(rows), len(gpu_tests.SANITIZED))

    def test_ctest_and_blocking_runs_end_with_their_time(self):
        code, rows, _ = self.blocking("exec tail -f /dev/null", ctest="exec tail -f /dev/null", seconds="1")
        self.assertEqual((code, len(rows)), (1, 1 + len(gpu_tests.COMPARING_BITS)))
        self.assertEqual(rows[0]["status"], "did not end within 1 seconds; see tests.log")
        self.assertEqual({row["status"] for row in rows[1:]}, {"not run: the time was up"})
        code, rows, _ = self.blocking("exec tail -f /dev/null", seconds="3")
        self.assertEqual((code, rows[0]["status"]), (1, "run"))
        for row in rows[1:]:
            self.assertRegex(row["status"], "^did not end within [1-3] seconds$|^not run: the time was up$")

    def test_a_signal_ends_what_runs_and_the_rows_say_so(self):
        # Each leaves a child that holds the pipe of the output, too.
        begun = self.folder / "begun"
        waits = f"tail -f /dev/null & echo $! >> {begun}; wait"
        self.make_programs(self.folder / "programs", {"compute-sanitizer": waits, "ctest": waits})
        for what, statuses in (("sanitizer", ["did not end within its stage", "not run: the time was up"]),
                               ("tests", ["did not end within its stage; see tests.log", "not run: the time was up"]),
                               ("others", ["did not end within its stage; see others.log"])):
            begun.unlink(missing_ok=True)
            with subprocess.Popen(
                    [sys.executable, "-B", ROOT / "tools/gpu_tests.py", what, "--build", self.folder / "build",
                     "--folder", self.folder, "--seconds", "900"], stdout=subprocess.PIPE,
                    env=os.environ | {"PATH": f"{self.folder}/programs:/bin"}) as process:
                self.wait_until(lambda: begun.exists() and begun.read_text().endswith("\n"))
                process.terminate()
                process.communicate(timeout=60)  # until all that has the pipe has ended
            self.assertEqual(process.returncode, 1)
            rows = json.loads((self.folder / f"{what}.json").read_text())
            self.assertEqual(list(dict.fromkeys(row["status"] for row in rows)), statuses)

    def test_a_signal_ends_blocking_runs(self):
        begun = self.folder / "begun"

        def end():
            self.wait_until(lambda: begun.exists() and len(begun.read_text()) == len(gpu_tests.COMPARING_BITS))
            gpu_tests.PROGRAMS.end()
        with mock.patch.object(gpu_tests, "PROGRAMS", gpu_tests.Programs()):
            signaller = threading.Thread(target=end)
            signaller.start()
            code, rows, _ = self.blocking(f"printf . >> {begun}; exec tail -f /dev/null")
            signaller.join()
        self.assertEqual((code, [row["status"] for row in rows]),
                         (1, ["run"] + ["did not end within its stage"] * len(gpu_tests.COMPARING_BITS)))

    def wait_until(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_each_part_of_a_filter_has_a_test(self):
        for _, program, tests, _ in gpu_tests.SANITIZED:
            names = [f"Every/{suite}.{name}/0" for source in SOURCES[program]
                     for suite, name in re.findall(r"^TEST_P\((\w+),\s+(\w+)\)",
                                                   (ROOT / f"tests/kernels/{source}_test.cc").read_text(), re.M)]
            for part in tests.split(":"):
                self.assertTrue(fnmatch.filter(names, part), f"{program}: nothing matches {part}")

    def test_the_rows_of_tests_are_those_of_ctest(self):
        junit = ('<testsuite><testcase name="kernels/a" status="run" time="1.5"/>'
                 '<testcase name="kernels/b" status="fail" time="2"/></testsuite>')
        ctest = f"""while [ $# -gt 1 ]; do [ "$1" = --output-junit ] && echo '{junit}' > "$2"; shift; done; exit 8"""
        expected = [{"what": "kernels/a", "status": "run", "seconds": 1.5},
                    {"what": "kernels/b", "status": "fail", "seconds": 2}]
        for what in ("tests", "others"):
            code, rows, _ = self.run_stage(what, {"ctest": ctest})
            self.assertEqual(code, 1)
            self.assertEqual(rows[:2], expected)

    def test_no_test_at_all_is_a_failure(self):
        for what in ("tests", "others"):
            code, rows, _ = self.run_stage(what, {"ctest": "exit 0"})
            self.assertEqual(code, 1)
            self.assertIn("no test ran; exit code 0", rows[0]["status"])

    def test_a_stage_that_is_ended_leaves_what_it_began(self):
        code, rows, _ = self.run_stage("others", {"ctest": f"cp {self.folder}/others.json {self.folder}/during.json"})
        self.assertEqual(code, 1)
        self.assertIn("no test ran", rows[0]["status"])
        self.assertEqual(json.loads((self.folder / "during.json").read_text())[0]["status"],
                         "not ended; see others.log")

    def test_each_test_is_in_one_of_two_stages(self):
        calls = self.folder / "calls"
        for what in ("tests", "others"):
            self.run_stage(what, {"ctest": f'echo "$@ gpu=$LONGRUN_GPU_TESTS" >> {calls}'}, "--jobs", "7")
        with_gpu, without = calls.read_text().splitlines()
        self.assertRegex(with_gpu, "^--test-dir /a/build -L gpu .* -j 4 .*gpu=1$")
        self.assertRegex(without, "^--test-dir /a/build -LE gpu .* -j 7 .*gpu=1$")

    def blocking(self, script, ctest=None, seconds="600"):
        """run_stage of `tests`, where ctest is content, and this is the script of each program that compares bits."""
        self.make_programs(self.folder / "build/tests", dict.fromkeys((gpu_tests.ATTENTION, gpu_tests.ROWS), script))
        junit = '<testsuite><testcase name="kernels/a" status="run" time="1.5"/></testsuite>'
        ctest = ctest or f"""while [ $# -gt 1 ]; do [ "$1" = --output-junit ] && echo '{junit}' > "$2"; shift; done"""
        return self.run_stage("tests", {"ctest": ctest}, "--build", str(self.folder / "build"), "--seconds", seconds)

    def test_bits_are_compared_with_blocking_launches_too(self):
        calls = self.folder / "calls"
        variables = "$CUDA_LAUNCH_BLOCKING $LONGRUN_GPU_TESTS $LONGRUN_TEST_SINGLE_BACKWARD"
        code, rows, _ = self.blocking(f'echo "$(basename $0) $@ {variables}" >> {calls}; {PASSES}')
        self.assertEqual(code, 0)
        self.assertEqual([row["status"] for row in rows[1:]], ["ok"] * len(gpu_tests.COMPARING_BITS))
        called = re.sub(" --gtest_output=json:[^ ]+", "", calls.read_text())
        self.assertEqual(sorted(called.splitlines()), sorted(
            f"{program} --gtest_filter={tests}:*ThereIsAGpu* 1 1 {int(is_single)}"
            for program, tests, is_single in gpu_tests.COMPARING_BITS))

    def test_other_bits_with_blocking_launches_are_a_failure(self):
        code, rows, _ = self.blocking(f'[ "$(basename $0)" = test_kernels_rows_cuda ] && exit 1; {PASSES}')
        self.assertEqual(code, 1)
        self.assertEqual([row["status"] for row in rows], ["run", "ok", "ok", "exit code 1; see tests.log"])

    def test_the_tests_that_compare_bits_exist(self):
        for program, tests, _ in gpu_tests.COMPARING_BITS:
            source = {gpu_tests.ATTENTION: "conformance_cuda", gpu_tests.ROWS: "cuda_rows_test"}[program]
            names = [f"{suite}.{name}" for suite, name in re.findall(
                r"^TEST(?:_F|_P)\((\w+),\s+(\w+)\)", (ROOT / f"tests/kernels/{source}.cc").read_text(), re.M)]
            self.assertTrue(fnmatch.filter(names, tests), f"{program}: nothing matches {tests}")

    def test_each_tool_watches_both_programs(self):
        self.assertEqual({(tool, program) for tool, program, _, _ in gpu_tests.SANITIZED},
                         {(tool, program) for tool in ("memcheck", "racecheck", "initcheck", "synccheck")
                          for program in (gpu_tests.ATTENTION, gpu_tests.ROWS)})


if __name__ == "__main__":
    unittest.main()
