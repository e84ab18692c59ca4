"""tools/gpu.sh --dry-run, which tests that script where no GPU is: gpu_dry_run_test.py TRAINER FOLDER

Each stage ends well or says why it is left out; when the time is up, each says so and names its remedy.
"""
import json
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/gpu.sh"
LEFT_OUT = {"tests", "attention", "rows", "timeline", "others"}
STAGES = LEFT_OUT | {"sanitizer", "checks", "bench", "models"}


def run(trainer, folder, *options):
    """(exit code, {stage: status})"""
    code = subprocess.run([SCRIPT, "--dry-run", "--trainer", trainer, *options, folder], check=False).returncode
    return code, {row["stage"]: row["status"] for row in json.loads((folder / "stages.json").read_text())}


def main():
    trainer, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    code, statuses = run(trainer, folder)
    expected = {stage: "left out: it needs a GPU" if stage in LEFT_OUT else "ok" for stage in STAGES}
    assert (code, statuses) == (0, expected), f"{code}, {statuses}; expected 0, {expected}"
    for name in ("sanitizer.json", "checks.json", "bench.json", "results.json"):
        assert json.loads((folder / name).read_text()), f"{folder / name} is empty"

    code, statuses = run(trainer, folder, "--minutes", "0", "--stages", "checks,sanitizer")
    expected = {stage: f"not run: 0 minutes have passed; run it by --stages {stage}"
                for stage in ("sanitizer", "checks")}
    assert (code, statuses) == (1, expected), f"{code}, {statuses}; expected 1, {expected}"

    wrong = subprocess.run([SCRIPT, "--dry-run", "--trainer", trainer, "--stages", "test", folder], check=False)
    assert wrong.returncode == 64, f"a stage that does not exist: exit code {wrong.returncode}, expected 64"


if __name__ == "__main__":
    main()
