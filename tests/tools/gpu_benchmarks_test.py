"""tools/gpu_attention_bench.py and tools/gpu_bench.py without a GPU: the programs and PyTorch are replaced. What was
measured is on disk after each row, and no row begins when the time is up."""
import contextlib
import io
import json
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import gpu_attention_bench  # noqa: E402
import gpu_bench  # noqa: E402

# Prints the row of each of the terms after --terms for the length, which is the last argument.
# Skipping is faster, and a call of 512 tokens takes so little that it has a graph. Fails at the
# length that its name ends with.
BENCH = """#!/usr/bin/env python3
import json, sys
def option(name, otherwise=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise
for terms in option("--terms").split(","):
    row = {"terms": terms, "length": int(sys.argv[-1]), "heads": int(option("--heads")),
           "head_dim": int(option("--head-dim")), "batch": int(option("--batch")),
           "forward_ms": 2.0, "backward_ms": 5.0, "input_sets": 3}
    if option("--skip"):
        row |= {"skip": 24, "visited": 0.25, "forward_ms": 0.5, "backward_ms": 0.9}
    if option("--check"):
        row["error"] = 1e-3
    if row["length"] == 512:
        row |= {"forward_ms": 0.1, "forward_graph_ms": 0.02, "backward_ms": 0.19, "backward_graph_ms": 0.05}
    if option("--backward"):
        row["backward_ms"] = {"single": 4.5, "unordered": 4.0}[option("--backward")]
    print(json.dumps(row))
if sys.argv[0].endswith("-" + sys.argv[-1]):
    print('{"bench": "cuda_attention", "forward_ms":')
    sys.exit(3)
"""
CEILINGS = {"matmul_tflops": 100.0, "copy_gb_s": 4000.0}


class Clock:
    """Each call is ten seconds after the one before."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        self.now += 10
        return self.now


class FakePeers:
    """Measures the peers without compiling, and keeps what was on disk before."""
    all = []

    def __init__(self, args, *_, **__):
        self.args, self.seen, self.missing = args, [], {}
        self.torch = mock.Mock(__version__="0", **{"cuda.get_device_name.return_value": "a GPU"})
        FakePeers.all.append(self)

    def measure(self, results, length):
        self.seen.append(len(json.loads((results.args.folder / "attention.json").read_text())["rows"]))
        for peer in (peer for peer in self.args.peers if (peer, None) not in self.missing):
            for terms in self.args.terms if peer == "flex" else ["alibi"] if "dense" in peer else ["none"]:
                results.add(self.args, peer, terms, length, {"ms": 1.0, "graph_ms": 0.03 if length == 512 else None},
                            {"ms": 2.5, "graph_ms": None})


class FakeTorch:
    """A GPU on which each call takes as long as the next of these numbers, and graphs a tenth."""

    def __init__(self, ms, records=True):
        self.ms, self.calls, self.launches, self.cuda = ms, 0, 0, self
        self.records, self.recording = records, False

    def Event(self, **_):
        return mock.Mock(**{"elapsed_time.return_value": self.ms})

    def CUDAGraph(self):
        return mock.Mock(replay=self.replay)

    def replay(self):
        self.launches += 1

    def current_stream(self):
        return "a stream"

    @contextlib.contextmanager
    def graph(self, _, stream):
        assert stream == "a stream"
        if not self.records:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.recording = True
        yield
        self.recording = False

    def call(self):
        self.calls += 1


class GpuBenchmarksTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_main(self, module, *arguments, code=0):
        printed = io.StringIO()
        with mock.patch.object(sys, "argv", ["program", "--folder", str(self.folder), *arguments]), \
                mock.patch.object(module, "time", Clock()), contextlib.redirect_stdout(printed):
            self.assertEqual(module.main(), code)
        return printed.getvalue()

    def attention(self, *arguments, lengths="1024", code=0, fails_at="", peers=FakePeers, check=0, ceilings=CEILINGS):
        """What was printed, and attention.json; `check` and `ceilings` may be exceptions."""
        def of(what):
            return {"side_effect": what} if isinstance(what, Exception) else {"return_value": what}
        bench = self.folder / f"bench-{fails_at}"
        bench.write_text(BENCH)
        bench.chmod(0o755)
        trainer = self.folder / "longrun-trainer"
        trainer.write_text("#!/bin/sh\necho commit-of-$1\n")
        trainer.chmod(0o755)
        FakePeers.all = []
        with mock.patch.object(gpu_attention_bench, "Peers", peers), \
                mock.patch.object(gpu_attention_bench, "ceilings", **of(ceilings)), \
                mock.patch.object(gpu_attention_bench, "check", **of(check)) as self.check:
            printed = self.run_main(gpu_attention_bench, "--bench", str(bench),
                                    *(["--lengths", lengths] if lengths else []), *arguments, code=code)
        return printed, json.loads((self.folder / "attention.json").read_text())

    def rows(self, *arguments, **options):
        return {(row["side"], row["terms"]): row for row in self.attention(*arguments, **options)[1]["rows"]}

    def test_attention_is_on_disk_after_each_row(self):
        rows = self.rows("--terms", "none,kerple", "--peers", "flash", "--rounds", "1")
        self.assertEqual(FakePeers.all[0].seen, [2])
        self.assertEqual({key: (row["forward"]["ms_of_rounds"], row["backward"]["ms_of_rounds"])
                          for key, row in rows.items()},
                         {("longrun", "none"): ([2.0], [5.0]), ("longrun", "kerple"): ([2.0], [5.0]),
                          ("flash", "none"): ([1.0], [2.5])})

    def test_a_row_of_attention_says_what_was_measured_and_where(self):
        row = self.rows("--terms", "alibi", "--peers", "flash", "--skip", "--batch", "2", "--heads", "3", "--head-dim",
                        "8", "--rounds", "2")["longrun, skipping", "alibi"]
        # 2 * 2 sequences * 3 heads * 8 channels * 1,024^2 = 0.1007 GFLOP, of which a quarter is
        # visited, in 0.5 ms.
        self.assertAlmostEqual(row["forward"].pop("fraction_of_peak"), 0.1007 / 4 / 0.5 / 100, delta=1e-5)
        self.assertAlmostEqual(row["both"].pop("fraction_of_peak"), 0.1007 * 3.5 / 4 / 1.4 / 100, delta=1e-5)
        self.assertAlmostEqual(row["forward"].pop("tflops"), 0.1007 / 0.5, delta=1e-3)
        self.assertEqual(row["forward"], {"ms": 0.5, "low": 0.5, "high": 0.5, "ms_of_rounds": [0.5, 0.5],
                                          "by": "events"})
        expected = {"side": "longrun, skipping", "terms": "alibi", "batch": 2, "length": 1024, "heads": 3,
                    "head_dim": 8, "type": "bf16", "rounds": 2, "error": 1e-3, "visited": 0.25, "input_sets": 3,
                    "gpu": "a GPU", "driver": "unknown", "commit": "commit-of-version"}
        self.assertEqual({name: row[name] for name in expected}, expected)
        beside = next(one for one in row["times_as_fast_as"] if one["side"] == "flash")
        self.assertEqual(beside["terms"], "none")
        self.assertEqual([beside[which]["median"] for which in ("forward", "backward", "both")],
                         [2.0, 2.5 / 0.9, 3.5 / 1.4])

    def test_only_short_texts_are_compared_with_the_reference(self):
        rows = self.attention("--terms", "none", "--peers", "none", "--rounds", "1", lengths="16384,16385")[1]["rows"]
        self.assertEqual({row["length"]: row["error"] for row in rows}, {16384: 1e-3, 16385: None})

    def test_graphs_are_compared_with_graphs_only(self):
        row = self.rows("--terms", "none", "--peers", "flash", "--rounds", "1", lengths="512")["longrun", "none"]
        self.assertEqual((row["forward"]["ms"], row["forward"]["by"]), (0.02, "graph"))
        beside = row["times_as_fast_as"][0]
        self.assertAlmostEqual(beside["forward"]["median"], 0.03 / 0.02)
        self.assertAlmostEqual(beside["backward"]["median"], 2.5 / 0.19)  # the peer has no graph
        self.assertAlmostEqual(beside["both"]["median"], 2.53 / 0.21)

    def test_rates_of_attention_count_half_of_the_pairs(self):
        printed, _ = self.attention("--terms", "none", "--rounds", "1")
        # 2 * 12 heads * 64 channels * 1,024^2 = 1.611 GFLOP in 2 ms, and 2.5 times as many in 5 ms.
        self.assertIn("| 1,024 | 1 | 12 x 64 | none | longrun | 0.8053 (0.8053–0.8053) | 0.8053 (0.8053–0.8053) | "
                      "0.01 | 1 |", printed)

    def test_attention_begins_no_round_when_the_time_is_up(self):
        printed, found = self.attention("--terms", "none", "--rounds", "9", "--seconds", "25")
        self.assertEqual({row["rounds"] for row in found["rows"]}, {3})
        self.assertIn("25 seconds have passed: round 4 ends before 1024 tokens of 12 heads with none", printed)

    def test_only_terms_with_a_bias_are_skipped(self):
        rows = self.rows("--terms", "none,alibi,fire", "--rounds", "1", "--skip")
        self.assertEqual({terms for side, terms in rows if side == "longrun, skipping"}, {"alibi"})

    def test_a_failure_of_ours_is_said_and_the_rest_is_measured(self):
        printed, found = self.attention("--terms", "none", "--peers", "flash", "--rounds", "1", lengths="512,1024,2048",
                                        fails_at="1024", code=1)
        self.assertEqual(len(found["failed"]), 1)
        self.assertIn("Failed: exit code 3 of ", printed)
        self.assertEqual({row["length"] for row in found["rows"] if row["side"] == "flash"}, {512, 1024, 2048})

    def test_flex_attention_is_left_out_if_its_check_ends_with_an_error(self):
        printed, found = self.attention("--goals", "all", "--rounds", "2", lengths=None,
                                        check=RuntimeError("\nno kernel"))
        self.assertEqual(found["missing"], [
            {"side": "flex", "terms": None, "why": "its check ended with RuntimeError: no kernel"}])
        self.assertIn("Left out: flex: its check ended with RuntimeError: no kernel", printed)
        self.check.assert_called_once()
        self.assertEqual({"K2b", "K6", "K1", "K2", "K4", "K5", "K2c", "K7"},
                         {row["goal"] for row in found["goals"] if row["verdict"] != "not measured"})
        self.assertNotIn("flex", {row["side"] for row in found["rows"]})

    def test_flex_attention_is_checked_just_before_it_is_measured(self):
        for arguments, checks in ((["--goals", "K2b"], 0), (["--goals", "K3"], 1), (["--last-query"], 0)):
            self.attention(*arguments, "--rounds", "2", lengths=None)
            self.assertEqual(self.check.call_count, checks, arguments)
        measured = []
        with mock.patch.object(gpu_attention_bench, "check_flex", side_effect=lambda args, results, _: measured.extend(
                results.times)):
            self.attention("--goals", "K2b,K3", "--rounds", "1", lengths=None)
        self.assertIn((8192, "cudnn"), {(key.length, key.side) for key in measured})
        self.assertNotIn("flex", {key.side for key in measured})

    def test_other_formulas_of_flex_attention_are_a_failure(self):
        _, found = self.attention("--terms", "key_bias", "--peers", "flex", "--rounds", "1", check=1, code=1)
        self.assertEqual(len(found["failed"]), 1)
        self.assertIn("FlexAttention does not compute the formulas", found["failed"][0])
        self.assertIn("flex", {row["side"] for row in found["rows"]})

    def test_without_a_torch_ours_is_measured(self):
        for peers, code in (("none", 0), ("flash,flex", 1)):
            with mock.patch.dict(sys.modules, {"torch": None}):
                _, found = self.attention("--terms", "none", "--peers", peers, "--rounds", "1", code=code,
                                          peers=gpu_attention_bench.Peers)
            self.assertEqual(({row["side"] for row in found["rows"]}, found["ceilings"]), ({"longrun"}, None))
            self.assertEqual({one["side"] for one in found["missing"]}, set(peers.split(",")) - {"none"})

    def test_a_torch_without_flex_attention_has_the_other_peers(self):
        with mock.patch.dict(sys.modules, {"torch": mock.MagicMock(), "torch.nn.attention.flex_attention": None}):
            parser = gpu_attention_bench.arguments()
            args = gpu_attention_bench.complete(parser, parser.parse_args(["--terms", "none"]))
            peers = gpu_attention_bench.Peers(args, "cuda", compiles=True)
        self.assertEqual(peers.cases(1024), [("flash", "none"), ("cudnn", "none"), ("efficient", "none")])
        self.assertIn("this torch has no FlexAttention", peers.missing["flex", None])

    def test_without_ceilings_the_rest_is_measured(self):
        _, found = self.attention("--terms", "none", "--peers", "flash", "--rounds", "1", code=1,
                                  ceilings=RuntimeError("out of memory\nin all"))
        self.assertEqual(found["failed"], ["the ceilings are not measured: out of memory"])
        self.assertEqual({row["side"] for row in found["rows"]}, {"longrun", "flash"})

    def test_a_peer_that_fails_is_named_with_its_reason(self):
        peers, _ = self.peer("--terms", "none", "--peers", "flash,cudnn")
        results = mock.Mock(**{"in_time.return_value": True})
        with mock.patch.object(peers, "input_sets", return_value=[]), contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.object(peers, "measure_one", side_effect=[ValueError(), RuntimeError("no\nkernel")]):
            peers.measure(results, 1024)
        self.assertEqual(results.leave_out.call_args_list, [
            mock.call("flash", "none", "1024 tokens: ValueError"), mock.call("cudnn", "none", "1024 tokens: no")])
        self.assertEqual(peers.cases(1024), [])

    def test_each_goal_has_a_verdict(self):
        printed, found = self.attention("--goals", "all", "--rounds", "1", lengths=None)
        verdicts = {(row["goal"], row["terms"], row["length"], row["sequences"]): row for row in found["goals"]}
        self.assertEqual({goal for goal, *_ in verdicts}, {goal.name for goal in gpu_attention_bench.GOALS})
        self.assertNotIn("not measured", {row["verdict"] for row in verdicts.values()})
        # Ours takes 7 ms, 1.4 while it skips; the peers 3.5.
        shown = {key: row["verdict"] for key, row in verdicts.items() if key[0] in ("K1", "K2", "K2b", "K6")}
        self.assertEqual(shown, {
            ("K1", "none", 1024, 1): "missed", ("K1", "none", 1024, 16): "missed", ("K1", "none", 4096, 1): "missed",
            ("K1", "none", 16384, 1): "missed", ("K2", "none", 1024, 1): "met", ("K2", "none", 1024, 16): "met",
            ("K2", "none", 4096, 1): "met", ("K2", "none", 16384, 1): "met",
            ("K2b", "alibi", 8192, 1): "met", ("K2b", "key_bias", 8192, 1): "met",
            ("K2b", "alibi", 32768, 1): "met", ("K2b", "key_bias", 32768, 1): "met",
            ("K2b", "alibi", 131072, 1): "missed", ("K2b", "key_bias", 131072, 1): "missed",
            ("K6", "alibi", 32768, 1): "met", ("K6", "alibi", 131072, 1): "missed"})
        self.assertEqual(verdicts["K6", "alibi", 32768, 1]["found"], {"median": 5.0, "low": 5.0, "high": 5.0})
        self.assertIn("| K6: ALiBi of 8 heads with skipping, beside our own attention without a bias | alibi | "
                      "32,768 | 1 | 4.0 | 5.00 (5.00–5.00) | 4.00 | 5.56 | met |", printed)

    def test_one_goal_measures_what_it_needs(self):
        _, found = self.attention("--goals", "K6", "--rounds", "1", lengths=None)
        self.assertEqual({(row["side"], row["heads"]) for row in found["rows"]},
                         {("longrun", 8), ("longrun, skipping", 8)})
        self.assertEqual({row["goal"] for row in found["goals"]}, {"K6"})

    def test_the_same_bits_each_time_are_judged_by_the_default_backward(self):
        printed, found = self.attention("--goals", "K7", "--rounds", "1", lengths=None)
        # Backward takes 5 ms, 4.5 in a single kernel, and 4 in any order; forward does not count.
        rows = [row for row in found["goals"] if row["goal"] == "K7"]
        self.assertEqual({(row["what"].split(",")[0], row["which"], row["found"]["median"], row["at_least"],
                           row["beside"], row["verdict"]) for row in rows},
                         {("the default backward", "backward", 0.8, 0.85, "longrun, backward in any order", "missed"),
                          ("backward in a single kernel that adds integers", "backward", 4.0 / 4.5, 0.85,
                           "longrun, backward in any order", "would be met")})
        self.assertEqual({(row["terms"], row["length"]) for row in rows},
                         {(terms, length) for terms in ("none", "key_bias") for length in (4096, 16384)})
        self.assertIn("| K7: the default backward, of two kernels, beside our own that adds in any order | none | "
                      "4,096 | 1 | 0.85 | 0.80 (0.80–0.80) | 1.00 | 0.80 | missed |", printed)

    def test_the_most_valuable_goal_comes_first_and_the_others_are_named(self):
        printed, found = self.attention("--goals", "all", "--rounds", "1", "--seconds", "15", lengths=None)
        self.assertIn("15 seconds have passed: round 1 ends before 131072 tokens of 12 heads with none,key_bias,alibi",
                      printed)
        self.assertEqual({row["goal"] for row in found["goals"] if row["verdict"] != "not measured"}, {"K2b"})
        self.assertIn("| K1: no bias, beside flash attention | none | 1,024 | – | 1.0 | – | – | – | not measured |",
                      printed)

    def test_each_goal_can_be_measured_by_its_run(self):
        """Of each goal there are runs with all that it compares, and the ledger names no other goals."""
        parser = gpu_attention_bench.arguments()
        for goal in gpu_attention_bench.GOALS:
            measured = set()
            for names, options in gpu_attention_bench.RUNS:
                run = gpu_attention_bench.complete(parser, parser.parse_args(options.split()))
                if goal.name in names.split(",") and (run.heads, run.head_dim) == (goal.heads, goal.head_dim):
                    sides = {gpu_attention_bench.OURS, *run.peers}
                    if run.skip:
                        sides.add(gpu_attention_bench.SKIPPING_SIDE)
                    if run.single_backward:
                        sides.add(gpu_attention_bench.SINGLE_SIDE)
                    if run.unordered_backward:
                        sides.add(gpu_attention_bench.UNORDERED_SIDE)
                    measured |= {(terms, length) for terms in set(run.terms) & set(goal.terms) for length in run.lengths
                                 if goal.side in sides and any(side in sides for side, _ in goal.beside)}
            self.assertLessEqual({(terms, length) for terms in goal.terms for length in goal.at_least}, measured, goal)
        ledger = (ROOT / "docs/gpu-ledger.md").read_text()
        named = {name for names in re.findall(r"`ATTENTION --goals ([\w,]+)`", ledger) for name in names.split(",")}
        self.assertEqual(named, set(gpu_attention_bench.known_goals()))

    def test_attention_without_a_bias_is_beside_each_back_end_of_libtorch(self):
        printed, found = self.attention("--goals", "K1", "--rounds", "1", lengths=None)
        self.assertEqual({(row["side"], row["batch"], row["length"]) for row in found["rows"] if row["terms"] == "none"},
                         {(side, *shape) for side in ("longrun", "flash", "cudnn", "efficient")
                          for shape in ((1, 1024), (1, 4096), (1, 16384), (16, 1024))})
        # 1.611 GFLOP in 1 ms, and 2.5 times as many in 2.5 ms.
        self.assertIn("| 1,024 | 1 | 12 x 64 | none | efficient | 1.611 (1.611–1.611) | 1.611 (1.611–1.611) |",
                      printed)
        parser = gpu_attention_bench.arguments()
        runs = gpu_attention_bench.runs_of(parser, parser.parse_args(["--goals", "all", "--shapes"]))
        self.assertEqual({tuple(run.peers) for run in runs if {"flash", "cudnn"} <= set(run.peers)},
                         {("flash", "cudnn", "efficient")})

    def test_alibi_is_beside_each_dense_bias_that_libtorch_takes(self):
        _, found = self.attention("--goals", "K2c", "--rounds", "1", lengths=None)
        self.assertLessEqual({"flex", "cudnn_dense_bias", "efficient_dense_bias"},
                             {row["side"] for row in found["rows"] if row["terms"] == "alibi"})
        [row] = [row for row in found["rows"] if (row["side"], row["terms"], row["length"]) == (
            "longrun", "alibi", 4096)]
        self.assertIn(("efficient_dense_bias", "alibi"),
                      {(one["side"], one["terms"]) for one in row["times_as_fast_as"]})

    def peer(self, *arguments):
        """Peers of a PyTorch that takes down (back-end, keyword arguments) of each call of its attention."""
        torch, calls, chosen = mock.MagicMock(), [], []
        attention = torch.nn.attention
        attention.SDPBackend = mock.Mock(FLASH_ATTENTION="flash", CUDNN_ATTENTION="cudnn",
                                         EFFICIENT_ATTENTION="efficient")

        @contextlib.contextmanager
        def sdpa_kernel(backend):
            chosen.append(backend)
            yield
            chosen.pop()
        attention.sdpa_kernel = sdpa_kernel
        torch.nn.functional.scaled_dot_product_attention = lambda q, k, v, **how: calls.append((chosen[-1], how))
        self.enterContext(mock.patch.dict(sys.modules, {
            "torch": torch, "torch.nn": torch.nn, "torch.nn.attention": attention,
            "torch.nn.attention.flex_attention": attention.flex_attention}))
        parser = gpu_attention_bench.arguments()
        args = gpu_attention_bench.complete(parser, parser.parse_args(arguments))
        return gpu_attention_bench.Peers(args, "cuda", compiles=False), calls

    def test_each_peer_takes_its_back_end_of_libtorch(self):
        peers, calls = self.peer("--terms", "none,alibi", "--peers", ",".join(gpu_attention_bench.PEERS[:-1]))
        cases = [("flash", "none"), ("cudnn", "none"), ("efficient", "none"), ("cudnn_dense_bias", "alibi"),
                 ("efficient_dense_bias", "alibi")]
        self.assertEqual(peers.cases(1024), cases)
        with mock.patch.object(peers, "dense", side_effect=lambda terms, length, _: (terms, length)):
            for peer, terms in cases:
                peers.call(peer, terms, 1024)(1, 2, 3)
        causal, dense = {"attn_mask": None, "is_causal": True}, {"attn_mask": ("alibi", 1024), "is_causal": False}
        self.assertEqual(calls, [("flash", causal), ("cudnn", causal), ("efficient", causal), ("cudnn", dense),
                                 ("efficient", dense)])

    def test_the_last_query_is_measured_without_a_dense_bias(self):
        peers, calls = self.peer("--last-query")
        self.assertEqual(peers.cases(1024), [("flash", "none"), ("cudnn", "none"), ("efficient", "none")])
        peers.call("efficient", "none", 1024)(1, 2, 3)
        self.assertEqual(calls, [("efficient", {"attn_mask": None, "is_causal": False})])

    def test_all_shapes_have_each_kind_of_heads(self):
        parser = gpu_attention_bench.arguments()
        runs = gpu_attention_bench.runs_of(parser, parser.parse_args(["--goals", "K6", "--shapes"]))
        self.assertEqual([run.heads for run in runs[:1]], [8])
        for heads in ((12, 64), (32, 64), (16, 128)):
            of = [(run.batch, length) for run in runs[1:] if (run.heads, run.head_dim) == heads
                  for length in run.lengths]
            self.assertEqual({batch * length for batch, length in of}, {16384, 65536, 131072})
            self.assertEqual({length for _, length in of}, {512 << at for at in range(7)} | {131072})
        shapes = {(run.heads, run.head_dim) for run in gpu_attention_bench.runs_of(
            parser, parser.parse_args(["--goals", "all"]))}
        self.assertLessEqual({(12, 64), (32, 64), (16, 128)}, shapes)

    def test_an_unknown_goal_is_refused(self):
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit):
            self.attention("--goals", "K99", lengths=None)
        self.assertIn("--goals: K99: expected some of K1,K2,K2b", said.getvalue())

    def test_peers_are_timed_by_the_numbers_of_our_program(self):
        text = (ROOT / "kernels/cuda/gpu_timer.h").read_text()
        numbers = {name: float(value) for name, value in re.findall(r"\bk(\w+) = ([\d.]+)[,;]", text)}
        for name, ours in (("WARM_CALLS", "WarmCalls"), ("WARM_CALLS_MIN", "WarmCallsMin"), ("WARM_MS", "WarmMs"),
                           ("TIMED_CALLS", "TimedCalls"), ("TIMED_CALLS_MIN", "TimedCallsMin"),
                           ("TIMED_MS", "TimedMs"), ("GRAPH_MS", "GraphMs"), ("GRAPH_CALLS", "GraphCalls"),
                           ("GRAPH_WARM", "GraphWarm"), ("GRAPH_LAUNCHES", "GraphLaunches")):
            self.assertEqual(getattr(gpu_attention_bench, name), numbers[ours], name)

    def test_short_calls_are_timed_often_and_in_a_graph(self):
        torch = FakeTorch(0.1)
        self.assertEqual(gpu_attention_bench.milliseconds(torch, torch.call), {"ms": 0.1, "graph_ms": 0.1 / 20})
        self.assertEqual((torch.calls, torch.launches), (10 + 30 + 20, 3 + 10))

    def test_long_calls_are_timed_a_few_times(self):
        torch = FakeTorch(300.0)
        self.assertEqual(gpu_attention_bench.milliseconds(torch, torch.call), {"ms": 300.0, "graph_ms": None})
        self.assertEqual((torch.calls, torch.launches), (2 + 5, 0))

    def test_a_call_that_cannot_be_recorded_is_timed_without_a_graph(self):
        torch = FakeTorch(0.1, records=False)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(gpu_attention_bench.milliseconds(torch, torch.call), {"ms": 0.1, "graph_ms": None})
        self.assertEqual(said.getvalue(), "not timed as a CUDA graph: operation not permitted\n")

    def test_the_ceilings_are_those_of_a_product_and_a_copy(self):
        with mock.patch.object(gpu_attention_bench, "milliseconds", side_effect=[{"ms": 2.0}, {"ms": 1.0}]):
            found = gpu_attention_bench.ceilings(mock.Mock())
        self.assertAlmostEqual(found["matmul_tflops"], 2 * 8192**3 / 2e-3 * 1e-12)
        self.assertAlmostEqual(found["copy_gb_s"], 2 * 2**31 / 1e-3 * 1e-9)

    def train_steps(self, *arguments, ours=300.0, peer=100.0, code=0):
        """What was printed, and bench.json; `ours` and `peer` may be functions, of what gpu_bench calls them with."""
        def of(rate):
            return {"side_effect": rate} if callable(rate) else {"return_value": rate}
        with mock.patch.object(gpu_bench, "run"), mock.patch.object(gpu_bench, "ours", **of(ours)), \
                mock.patch.object(gpu_bench, "peer", **of(peer)), \
                mock.patch.object(gpu_bench.subprocess, "run", return_value=mock.Mock(returncode=0)):
            printed = self.run_main(gpu_bench, "--trainer", "trainer", *arguments, code=code)
        return printed, json.loads((self.folder / "bench.json").read_text())

    def test_only_a_peer_that_fails_is_left_out_of_its_row(self):
        seen = []

        def peer(args, _, shape, method, options):
            seen.append((shape[0], options, len(json.loads((args.folder / "bench.json").read_text()))))
            if options and shape[0] == "micro":
                raise gpu_bench.Failed("torch_peer.py: no compiler")
            return 100.0
        printed, rows = self.train_steps("--shapes", "2,0", "--methods", "alibi", "--rounds", "2", peer=peer)
        self.assertEqual([(row["shape"], row["tokens_per_s"], row["ratio"], row["missing"]) for row in rows], [
            ("micro", [300.0] * 2, {"plain PyTorch": [3.0] * 2, "compiled PyTorch": []},
             {"compiled PyTorch": "torch_peer.py: no compiler"})] * 2 + [
            ("GPT-2 124M", [300.0] * 2, {"plain PyTorch": [3.0] * 2, "compiled PyTorch": [3.0] * 2}, {})] * 2)
        # It is not asked again, and what we reach was on disk before the first peer.
        self.assertEqual([(shape, bool(options)) for shape, options, _ in seen],
                         [("micro", False), ("micro", True), ("micro", False)] +
                         [("GPT-2 124M", False), ("GPT-2 124M", True)] * 2)
        self.assertEqual(seen[0][2], 2)
        table = (self.folder / "bench.md").read_text()
        for said in (printed, table):
            self.assertIn("micro in fp32, alibi, compiled PyTorch: ", said)
        self.assertIn("| micro | 64 | fp32 | alibi | fused | 300 | 100 | 3.00 (3.00–3.00) | - | - |", table)

    def test_a_failure_of_our_train_steps_is_said_and_the_rest_is_measured(self):
        def ours(*arguments):
            if arguments[-1] == "fused, graphs":
                raise gpu_bench.Failed("exit code 1 of trainer:\nits last lines")
            return 300.0
        _, rows = self.train_steps("--shapes", "2", "--methods", "cable,alibi", "--rounds", "1", ours=ours, code=1)
        self.assertEqual([(row["position"], row["attention"]) for row in rows],
                         [("cable", "fused"), ("cable", "reference"), ("alibi", "fused"), ("alibi", "reference")])
        self.assertEqual(rows[0]["missing"], {"fused, graphs": "exit code 1 of trainer:\nits last lines"})

    def test_what_a_peer_says_is_its_failure(self):
        shape = gpu_bench.DRY_SHAPES[0]
        for stdout, stderr, code, expected in (
                ("", "a traceback\nRuntimeError: out of memory\n", 1, "torch_peer.py: RuntimeError: out of memory"),
                ("", "", -9, "torch_peer.py: exit code -9, without a word"),
                ("no JSON", "", 0, "torch_peer.py printed no rate: 'no JSON'"),
                ('{"tokens": 3}', "", 0, "torch_peer.py printed no rate: '{\"tokens\": 3}'")):
            done = mock.Mock(returncode=code, stdout=stdout, stderr=stderr)
            with mock.patch.object(gpu_bench.subprocess, "run", return_value=done), \
                    self.assertRaises(gpu_bench.Failed) as raised:
                gpu_bench.peer(mock.Mock(device="gpu"), "text", shape, "alibi", [])
            self.assertEqual(str(raised.exception), expected)

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
