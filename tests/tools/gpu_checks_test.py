"""The rows of tools/gpu_checks.py about a GPU's memory, with a trainer that is made here."""
import contextlib
import io
import json
import pathlib
import re
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import gpu_checks  # noqa: E402

# Writes down its run and its arguments, and logs what a training on a GPU does: a peak of 4 GiB,
# and a forecast that is as many percent of it as the number at the end of the program's name;
# nothing if that is 0.
TRAINER = """#!/usr/bin/env python3
import json, pathlib, sys
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
output = pathlib.Path(option("--output"))
output.mkdir()
with open(pathlib.Path(sys.argv[0]).parent / "calls.jsonl", "a") as calls:
    calls.write(json.dumps({"run": json.loads(open(option("--run")).read()), "arguments": sys.argv[1:]}) + "\\n")
print("step 4 of 4   loss 3.4123")
percent = int(sys.argv[0].rpartition("-")[2])
if percent:
    print(f"I 2026-11-20T08:03:46.123Z training_memory peak_bytes={1 << 32} reserved_bytes={5 << 30} "
          f"forecast_bytes={(1 << 32) * percent // 100}", file=sys.stderr)
"""


class GpuChecksTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def forecasts(self, percent):
        """The rows, and the calls of the trainer."""
        trainer = self.folder / f"trainer-{percent}"
        trainer.write_text(TRAINER)
        trainer.chmod(0o755)
        c = gpu_checks.Checks.__new__(gpu_checks.Checks)
        c.trainer, c.device, c.dry_run, c.steps = str(trainer), "gpu", False, 4
        c.work = self.folder / f"checks-{percent}"
        c.dataset, c.rows, c.lock = "dataset", [], threading.Lock()
        with contextlib.redirect_stdout(io.StringIO()):
            gpu_checks.forecasts(c)
        calls = [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
        return c.rows, calls

    def test_a_forecast_is_within_15_percent_of_the_peak(self):
        for percent, is_ok in ((84, False), (86, True), (114, True), (116, False)):
            rows, _ = self.forecasts(percent)
            self.assertEqual([row["ok"] for row in rows], [is_ok] * len(gpu_checks.FORECASTS), percent)
        self.assertEqual(rows[1]["what"], "GPT-2 124M, cable, bf16, 16 x 1,024 tokens: the allocator's peak and the "
                         "forecast of `longrun plan`, MiB")
        self.assertEqual(rows[1]["value"], "4096, 4751: 1.160 of it; the allocator reserved 5120")
        self.assertEqual(rows[1]["expected"], "within 15% of the peak")

    def test_each_training_is_what_its_row_says(self):
        _, calls = self.forecasts(100)
        self.assertEqual(len(calls), len(gpu_checks.FORECASTS))
        for call, (_, method, vocabulary, sequences, precision, options) in zip(calls, gpu_checks.FORECASTS):
            run, arguments = call["run"], call["arguments"]
            self.assertEqual((run["position"]["method"], run["model"]["vocab_size"], run["train"]["precision"]),
                             (method, vocabulary, precision))
            self.assertEqual((run["train"]["batch_tokens"], run["train"]["tokens"]),
                             (1024 * sequences, 4096 * sequences))
            self.assertEqual(arguments[arguments.index("--micro-batch") + 1:], [str(sequences), *options])
            self.assertFalse(pathlib.Path(arguments[arguments.index("--output") + 1]).exists())

    def test_a_trainer_that_logs_no_memory_is_a_failure(self):
        with self.assertRaisesRegex(gpu_checks.Failed, "train.log: no line training_memory"):
            self.forecasts(0)

    def test_the_trainer_logs_the_line_that_is_read(self):
        source = (ROOT / "worker/trainer/train.cc").read_text()
        logged = re.search(r'LogInfo\("training_memory", (.*?)\);', source, re.S)
        self.assertEqual(re.findall(r'\{"(\w+)",', logged.group(1)), ["peak_bytes", "reserved_bytes", "forecast_bytes"])


if __name__ == "__main__":
    unittest.main()
