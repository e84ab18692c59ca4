"""tools/gpu_attention_bench.py and tools/gpu_bench.py without a GPU: the programs and PyTorch are replaced. What was
measured is on disk after each row, and no row begins when the time is up."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import gpu_attention_bench  # noqa: E402
import gpu_bench  # noqa: E402

# Prints the row of each of the terms after --terms for the length, which is the last argument.
BENCH = """#!/usr/bin/env python3
import json, sys
for terms in sys.argv[sys.argv.index("--terms") + 1].split(","):
    print(json.dumps({"terms": terms, "length": int(sys.argv[-1]), "forward_ms": 2.0, "backward_ms": 5.0}))
"""


class Clock:
    """Each call is ten seconds after the one before."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        self.now += 10
        return self.now


class FakePeers:
    """Measures flash attention alone, and keeps what was on disk before."""

    def __init__(self, args, *_, **__):
        self.args, self.seen = args, []
        self.torch = mock.Mock(__version__="0", **{"cuda.get_device_name.return_value": "a GPU"})
        FakePeers.last = self

    def measure(self, results, length):
        self.seen.append(len(json.loads((self.args.folder / "attention.json").read_text())))
        results.add("flash", "none", length, 1.0, 2.5)


class GpuBenchmarksTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_main(self, module, *arguments):
        printed = io.StringIO()
        with mock.patch.object(sys, "argv", ["program", "--folder", str(self.folder), *arguments]), \
                mock.patch.object(module, "time", Clock()), contextlib.redirect_stdout(printed):
            self.assertEqual(module.main(), 0)
        return printed.getvalue()

    def attention(self, *arguments):
        bench = self.folder / "bench"
        bench.write_text(BENCH)
        bench.chmod(0o755)
        with mock.patch.object(gpu_attention_bench, "Peers", FakePeers), \
                mock.patch.object(gpu_attention_bench, "check", return_value=0):
            printed = self.run_main(gpu_attention_bench, "--bench", str(bench), "--lengths", "1024", *arguments)
        rows = json.loads((self.folder / "attention.json").read_text())
        return printed, {(row["side"], row["terms"]): row["ms"] for row in rows}

    def test_attention_is_on_disk_after_each_row(self):
        _, rows = self.attention("--terms", "none,kerple", "--rounds", "1")
        self.assertEqual(FakePeers.last.seen, [2])
        self.assertEqual(rows, {("longrun", "none"): [[2.0, 5.0]], ("longrun", "kerple"): [[2.0, 5.0]],
                                ("flash", "none"): [[1.0, 2.5]]})

    def test_rates_of_attention_count_half_of_the_pairs(self):
        printed, _ = self.attention("--terms", "none", "--rounds", "1")
        # 2 * 12 heads * 64 channels * 1,024^2 = 1.611 GFLOP in 2 ms, and 2.5 times as many in 5 ms.
        self.assertIn("| 1,024 | none | longrun | 0.8053 (0.8053–0.8053) | 0.8053 (0.8053–0.8053) | 1 |", printed)

    def test_attention_begins_no_round_when_the_time_is_up(self):
        printed, rows = self.attention("--terms", "none", "--rounds", "9", "--seconds", "25")
        self.assertEqual({len(ms) for ms in rows.values()}, {3})
        self.assertIn("25 seconds have passed: round 4 ends before 1024 tokens", printed)

    def test_only_terms_with_a_bias_are_skipped(self):
        _, rows = self.attention("--terms", "none,alibi,fire", "--rounds", "1", "--skip")
        self.assertEqual({terms for side, terms in rows if side == "longrun, skipping"}, {"alibi"})

    def train_steps(self, *arguments):
        with mock.patch.object(gpu_bench, "run"), mock.patch.object(gpu_bench, "ours", return_value=300.0), \
                mock.patch.object(gpu_bench, "peer", return_value=100.0), \
                mock.patch.object(gpu_bench.subprocess, "run", return_value=mock.Mock(returncode=0)):
            printed = self.run_main(gpu_bench, "--trainer", "trainer", *arguments)
        return printed, json.loads((self.folder / "bench.json").read_text())

    def test_train_steps_take_the_shapes_and_methods_that_are_asked_for(self):
        _, rows = self.train_steps("--shapes", "2,0", "--methods", "alibi", "--rounds", "2")
        self.assertEqual([(row["shape"], row["position"], row["attention"]) for row in rows], [
            ("micro", "alibi", "fused"), ("micro", "alibi", "reference"),
            ("GPT-2 124M", "alibi", "fused"), ("GPT-2 124M", "alibi", "reference")])
        self.assertEqual(rows[0]["ratio"]["plain PyTorch"], [3.0, 3.0])

    def test_train_steps_begin_no_row_when_the_time_is_up(self):
        printed, rows = self.train_steps("--rounds", "1", "--seconds", "15")
        self.assertEqual({row["position"] for row in rows}, {"cable", "alibi"})
        self.assertIn("15 seconds have passed: rope with GPT-2 124M in bf16, and what comes after it, is not measured",
                      printed)
        self.assertEqual((self.folder / "bench.md").read_text().count("\n"), 2 + len(rows))


if __name__ == "__main__":
    unittest.main()
