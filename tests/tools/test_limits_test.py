"""tools/test_limits.py names the tests of a run that took more than a third of their limit, by real ctest files."""
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/test_limits.py"
LIMITS = {"quick": 60, "near": 60, "nearest": 20, "unlimited": None}
TIMES = {"quick": 19.9, "near": 21, "nearest": 19, "unlimited": 1000, "gone": 1000}
EXPECTED = "nearest took 19 s of 20 s\nnear took 21 s of 60 s\n"


def main():
    with tempfile.TemporaryDirectory() as folder:
        build = pathlib.Path(folder)
        lines = [f'add_test({name} "true")' for name in LIMITS]
        lines += [f'set_tests_properties({name} PROPERTIES TIMEOUT "{limit}")' for name, limit in LIMITS.items() if limit]
        (build / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n")
        cases = [f'<testcase name="{name}" time="{time}" status="run"/>' for name, time in TIMES.items()]
        (build / "tests.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        printed = subprocess.run([sys.executable, "-B", str(TOOL), folder, str(build / "tests.xml")], check=True,
                                 capture_output=True, text=True).stdout
    if printed != EXPECTED:
        sys.exit(f"printed:\n{printed}expected:\n{EXPECTED}")


if __name__ == "__main__":
    main()
