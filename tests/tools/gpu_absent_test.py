"""The runs of tools/gpu_tests.py with the real programs, where no GPU is seen: gpu_absent_test.py BUILD

Each has failed, also where a filter leaves nothing to run, which GoogleTest calls a success.
"""
import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import gpu_tests  # noqa: E402


def main():
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    args = argparse.Namespace(what="sanitizer")
    runs = {(program, tests_of) for _, program, tests_of, _ in gpu_tests.SANITIZED}
    runs |= {(program, tests_of) for program, tests_of, _ in gpu_tests.COMPARING_BITS}
    for program, tests_of in sorted(runs):
        status = gpu_tests.ended(args, [str(pathlib.Path(sys.argv[1]) / "tests" / program)], tests_of, False, 60.0, {})
        assert status == "exit code 1; see sanitizer.log", f"{program} {tests_of}: {status}"


if __name__ == "__main__":
    main()
