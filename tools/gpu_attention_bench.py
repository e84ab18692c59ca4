"""Fused attention of liblongrun_cuda.so on a GPU beside PyTorch's: forward and backward, in turns.

  gpu_attention_bench.py [--bench PROGRAM] [--folder FOLDER] --goals all|K1,...   what the goals need, the most valuable
                                                                                  first (RUNS); with --shapes, then
                                                                                  other shapes
  gpu_attention_bench.py [--bench PROGRAM] [--folder FOLDER] [--terms none,...] [--lengths 1024,...]
  gpu_attention_bench.py --check     does FlexAttention compute the terms' formulas? On a GPU with gradients

Writes FOLDER/attention.json and FOLDER/attention.md, again after each measurement. Causal, bf16, one sequence (or
--batch), 12 heads of 64 (--heads, --head-dim). The terms are those of the program (kernels/cuda/attention_bench.cc);
rates count all keys that causality shows, even if they are skipped, or hidden by a window or documents, so that ratios
of rates are ratios of times. But the fraction of the peak counts only the pairs that are visited.

In each round every side measures every length: the median of up to 30 calls, after up to 10 (fewer if a call takes
long), by CUDA's events, and of a call below 0.2 ms also in a CUDA graph of 20 calls. Where the inputs fit into the L2
cache, calls take several sets of them in turn. Both sides do so by the same numbers (kernels/cuda/gpu_timer.h). A ratio
is that of the medians of both sides' rounds, from graphs if both have them, with the lowest and the highest ratio of
one round. The ceilings, a product of 8192 x 8192 x 8192 in bf16 and a copy of 2 GiB, are measured at the beginning.

The peers are torch's scaled_dot_product_attention through flash attention, cuDNN and the memory-efficient kernel, all
without a bias; the latter two with ALiBi's bias as a dense matrix, of which no gradient is computed; and compiled
FlexAttention, with the gradients of what a model learns. FlexAttention takes KERPLE's own two numbers for each head;
ours takes a table of its values, and the table's gradient. Nobody but us has a rotation or FIRE inside the kernel. A
peer that this torch does not have is named and left out. So is FlexAttention if its check (--check), just before it is
first measured, ends with an error. Compiling FlexAttention takes long: --flex-lengths names the
lengths for it.

--seconds ends the rounds after this time. --last-query measures what writes a token: forward of one query that sees all
keys, in GB/s of the keys and values. --skip also measures ours while it skips keys that hold at most 2^-24 of a row,
with the key bias and with ALiBi's. --single-backward also measures ours with backward in a single kernel, and
--unordered-backward with one that adds in any order, which no trainer can choose. Standard library only here; needs a
python3 that can import torch. Exits with 1 if ours failed; a goal that is missed is in the tables.
"""
import argparse
import importlib
import itertools
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

TERMS = ["none", "key_bias", "two_sided", "alibi", "distance_table", "kerple", "fire", "rotation", "window",
         "documents"]
LAST_QUERY_TERMS = ["none", "key_bias", "alibi", "rotation"]
SKIPPING = ["key_bias", "alibi"]
PEERS = ["flash", "cudnn", "efficient", "cudnn_dense_bias", "efficient_dense_bias", "flex"]
DENSE_BIAS = "_dense_bias"  # the end of such a peer's name
BENCH = "build/trainer-only/bin/longrun-cuda-attention-bench"
WINDOW, DISTANCES = 1024, 128
CHECKED_LENGTH = 1500  # more than the window, and than one document


OURS, SKIPPING_SIDE, SINGLE_SIDE = "longrun", "longrun, skipping", "longrun, single backward"
UNORDERED_SIDE = "longrun, backward in any order"
# As in kernels/cuda/gpu_timer.h.
WARM_CALLS, WARM_CALLS_MIN, WARM_MS = 10, 2, 100.0
TIMED_CALLS, TIMED_CALLS_MIN, TIMED_MS = 30, 5, 500.0
GRAPH_MS, GRAPH_CALLS, GRAPH_WARM, GRAPH_LAUNCHES = 0.2, 20, 3, 10
# The host computes the reference, which takes long, so only for so many tokens, and for these
# queries of each sequence.
CHECKED_TOKENS_MAX, CHECKED_QUERIES = 16384, 16


class Goal(NamedTuple):
    """A goal of docs/gpu-ledger.md: how many times as fast ours is."""
    name: str
    what: str
    side: str
    terms: list
    beside: list  # (side, terms or None: the same): the fastest of them
    at_least: dict  # by length
    heads: int = 12
    head_dim: int = 64
    which: str = "both"  # forward and backward together, or one of them
    is_default: bool = True  # else only what the verdict would be if this side were the default

    def verdict(self, found, length):
        verdict = "met" if found >= self.at_least[length] else "missed"
        return verdict if self.is_default else f"would be {verdict}"


GOALS = [
    Goal("K2b", "a bias with its gradient and skipping, beside cuDNN without a bias", SKIPPING_SIDE,
         ["alibi", "key_bias"], [("cudnn", "none")], {8192: 1.1, 32768: 2.5, 131072: 8.0}),
    Goal("K6", "ALiBi of 8 heads with skipping, beside our own attention without a bias", SKIPPING_SIDE, ["alibi"],
         [(OURS, "none")], {32768: 4.0, 131072: 12.0}, heads=8),
    Goal("K1", "no bias, beside flash attention", OURS, ["none"], [("flash", "none")],
         dict.fromkeys([1024, 4096, 16384], 1.0)),
    Goal("K2", "no bias, beside cuDNN", OURS, ["none"], [("cudnn", "none")], dict.fromkeys([1024, 4096, 16384], 0.5)),
    Goal("K4", "a key bias with its gradient, beside our own attention without a bias", OURS, ["key_bias"],
         [(OURS, "none")], dict.fromkeys([1024, 4096, 16384], 0.93)),
    Goal("K5", "a table by distance with its gradient, the same", OURS, ["distance_table", "kerple"],
         [(OURS, "none")], dict.fromkeys([4096, 16384], 0.75)),
    Goal("K5", "FIRE with its gradients, the same", OURS, ["fire"], [(OURS, "none")],
         dict.fromkeys([4096, 16384], 0.5)),
    Goal("K3", "a key bias with its gradient, beside FlexAttention", OURS, ["key_bias"], [("flex", None)],
         dict.fromkeys([4096, 16384], 1.3)),
    Goal("K2c", "a bias with its gradient, beside the fastest peer that has it", OURS,
         ["key_bias", "alibi", "two_sided", "distance_table", "kerple"],
         [("flex", None), ("cudnn_dense_bias", None), ("efficient_dense_bias", None)],
         dict.fromkeys([4096, 16384], 1.0)),
    Goal("K7", "the default backward, of two kernels, beside our own that adds in any order", OURS,
         ["none", "key_bias"], [(UNORDERED_SIDE, None)], dict.fromkeys([4096, 16384], 0.85), which="backward"),
    Goal("K7", "backward in a single kernel that adds integers, the same", SINGLE_SIDE, ["none", "key_bias"],
         [(UNORDERED_SIDE, None)], dict.fromkeys([4096, 16384], 0.85), which="backward", is_default=False),
]
# (the goals that they serve, options), the most valuable first.
RUNS = [
    ("K2b", "--skip --terms none,key_bias,alibi --peers cudnn --lengths 8192,32768,131072"),
    ("K6", "--skip --heads 8 --terms none,alibi --peers none --lengths 32768,131072"),
    ("K1,K2,K4", "--terms none,key_bias --peers flash,cudnn,efficient --lengths 1024,4096,16384"),
    ("K1,K2,K4", "--batch 16 --terms none,key_bias --peers flash,cudnn,efficient --lengths 1024"),
    ("K5", "--terms none,distance_table,kerple,fire --peers none --lengths 4096,16384"),
    ("K3,K2c", "--terms key_bias --peers flex --lengths 4096,16384"),
    ("K7", "--single-backward --unordered-backward --terms none,key_bias --peers flash --lengths 4096,16384"),
    ("", "--heads 32 --terms none,key_bias --peers flash,cudnn,efficient --lengths 16384"),
    ("", "--heads 16 --head-dim 128 --terms none,key_bias --peers flash,cudnn,efficient --lengths 16384"),
    ("", "--heads 32 --batch 16 --terms none,key_bias --peers flash,cudnn,efficient --lengths 1024"),
    ("", "--heads 16 --head-dim 128 --batch 16 --terms none,key_bias --peers flash,cudnn,efficient --lengths 1024"),
    ("K2c", "--terms alibi,two_sided,distance_table,kerple --peers cudnn_dense_bias,efficient_dense_bias,flex"
            " --lengths 4096,16384"),
    ("", "--terms none,rotation,window,documents --peers flash,flex --lengths 4096,16384"),
]


def all_shapes():
    """The runs of --shapes: 16,384 and 65,536 tokens in sequences of each length, and one of 131,072."""
    of_tokens = [(max(1, tokens // length), length) for tokens in (16384, 65536)
                 for length in (512, 1024, 2048, 4096, 8192, 16384, 32768) if length <= tokens]
    return [("", f"--heads {heads} --head-dim {head_dim} --batch {batch} --lengths {length} --skip"
                 " --peers flash,cudnn,efficient"
                 " --terms none,alibi,key_bias,distance_table,kerple,fire,window,documents")
            for heads, head_dim in ((12, 64), (32, 64), (16, 128)) for batch, length in (*of_tokens, (1, 131072))]


def work(args, length):
    """FLOP of a forward pass, half of it masked; a backward pass counts 2.5 times. With --last-query, bytes."""
    if args.last_query:
        return 2.0 * 2 * args.batch * args.heads * args.head_dim * length
    return 2.0 * args.batch * args.heads * args.head_dim * length * length


def first_line(command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


class Key(NamedTuple):
    """What is measured."""
    side: str
    terms: str
    batch: int
    length: int
    heads: int
    head_dim: int


def chosen(times, which, others=()):
    """("events" or "graph", the times of each round): graphs if these, and those that they are compared with, are."""
    everyone = [one[which] for one in (*times, *others)]
    way = "graph" if everyone and all(one["graph_ms"] is not None for one in everyone) else "events"
    return way, [one[which]["graph_ms" if way == "graph" else "ms"] for one in times]


PASSES = ["forward", "backward", "both"]


def all_ms(times, which, others=()):
    """The times of each round, of `both` the sums."""
    if which != "both":
        return chosen(times, which, others)[1]
    return [sum(pair) for pair in zip(all_ms(times, "forward", others), all_ms(times, "backward", others))]


def ratio(ours, peer, which):
    """How many times as fast ours is: {median, low, high}; None if one of them has no such pass."""
    if any(one["backward"] is None for one in (*ours, *peer)) and which != "forward":
        return None
    mine, theirs = all_ms(ours, which, peer), all_ms(peer, which, ours)
    of_rounds = [b / a for a, b in zip(mine, theirs)]
    return {"median": statistics.median(theirs) / statistics.median(mine), "low": min(of_rounds),
            "high": max(of_rounds)}


class Results:
    """What each round has measured, by Key, kept on disk."""

    def __init__(self, args):
        self.args, self.times, self.extra, self.begin = args, {}, {}, time.monotonic()
        self.machine = {"gpu": "no GPU", "driver": "unknown", "clocks": "unknown", "torch": "unknown",
                        "commit": first_line([str(args.bench.parent / "longrun-trainer"), "version"])}
        self.ceilings = None  # {"matmul_tflops", "copy_gb_s"}
        self.failed, self.goals = [], []
        self.missing = []  # of the peers: {"side", "terms" or None: all, "why"}
        self.rows = {}  # of attention.json

    def in_time(self):
        return not self.args.seconds or time.monotonic() - self.begin < self.args.seconds

    def add(self, args, side, terms, length, forward, backward, **extra):
        """forward and backward (or None): {"ms", "graph_ms" or None}."""
        key = Key(side, terms, args.batch, length, args.heads, args.head_dim)
        self.times.setdefault(key, []).append({"forward": forward, "backward": backward})
        self.extra.setdefault(key, {}).update(extra)
        self.rows.update({other: self.row(other) for other in self.times if other[2:] == key[2:]})
        self.write()

    def fail(self, what):
        """For the exit code 1."""
        self.failed.append(what)
        print(what, flush=True)
        self.write()

    def leave_out(self, side, terms, why):
        missing = {"side": side, "terms": terms, "why": why}
        if missing not in self.missing:
            self.missing.append(missing)
        self.write()

    def rates(self, key, which):
        """TFLOP/s (or GB/s) of each round, as if nothing was skipped; None if there is no such pass."""
        if self.times[key][0]["backward"] is None and which != "forward":
            return None
        shape = argparse.Namespace(last_query=self.args.last_query, **key._asdict())
        per_ms = work(shape, key.length) * {"forward": 1.0, "backward": 2.5, "both": 3.5}[which]
        per_ms *= 1e-6 if self.args.last_query else 1e-9
        return [per_ms / ms for ms in all_ms(self.times[key], which)]

    def cell(self, key, which):
        rates = self.rates(key, which)
        return "–" if rates is None else f"{statistics.median(rates):.4g} ({min(rates):.4g}–{max(rates):.4g})"

    def peak(self, key, which):
        """The fraction of the ceiling of this run, of the pairs that are visited; None if that is not known."""
        rates = self.rates(key, which)
        if rates is None or self.ceilings is None:
            return None
        ceiling = self.ceilings["copy_gb_s" if self.args.last_query else "matmul_tflops"]
        return statistics.median(rates) * self.extra[key].get("visited", 1.0) / ceiling

    def peers_of(self, key):
        """Of the same shape, with the same terms or without a bias."""
        return [other for other in self.times if other[2:] == key[2:] and other != key and
                other.terms in (key.terms, "none")]

    def row(self, key):
        times, row = self.times[key], {**key._asdict(), "type": "bf16", "rounds": len(self.times[key])}
        for which in PASSES[:1 if times[0]["backward"] is None else 3]:
            ms = all_ms(times, which)
            row[which] = {"ms": statistics.median(ms), "low": min(ms), "high": max(ms), "ms_of_rounds": ms,
                          "by": "sum" if which == "both" else chosen(times, which)[0],
                          "gb_s" if self.args.last_query else "tflops": statistics.median(self.rates(key, which)),
                          "fraction_of_peak": self.peak(key, which)}
        row["error"] = None
        row.update(self.extra[key])
        if key.side.startswith(OURS):
            row["times_as_fast_as"] = [
                {"side": other.side, "terms": other.terms,
                 **{which: ratio(times, self.times[other], which) for which in PASSES}} for other in self.peers_of(key)]
        return {**row, **{name: self.machine[name] for name in ("gpu", "driver", "commit")}}

    def verdicts(self):
        """A row for each goal that was asked for, length and number of sequences."""
        rows = []
        for goal, (terms, length) in ((goal, case) for goal in GOALS
                                      for case in itertools.product(goal.terms, goal.at_least)):
            found = [key for key in self.times if key[:2] == (goal.side, terms) and key.length == length and
                     key[4:] == (goal.heads, goal.head_dim)]
            rows_here = []
            for key in found:
                peers = [key._replace(side=side, terms=of or terms) for side, of in goal.beside]
                peers = [peer for peer in peers if peer in self.times]
                ratios = [(ratio(self.times[key], self.times[peer], goal.which), peer) for peer in peers]
                ratios = [(of, peer) for of, peer in ratios if of is not None]
                if not ratios:
                    continue
                of, peer = min(ratios, key=lambda pair: pair[0]["median"])
                rows_here.append({"sequences": key.batch, "beside": peer.side, "found": of, **{
                    which: ratio(self.times[key], self.times[peer], which)["median"] for which in PASSES[:2]},
                    "verdict": goal.verdict(of["median"], length)})
            if not rows_here and goal.name in self.goals:
                rows_here = [{"sequences": None, "beside": None, "found": None, "verdict": "not measured"}]
            rows += [{"goal": goal.name, "what": goal.what, "which": goal.which, "terms": terms, "length": length,
                      "at_least": goal.at_least[length], **row} for row in rows_here]
        return rows

    def write(self):
        keys = sorted(self.times, key=lambda key: (key.length, key.batch, key.heads, key.head_dim,
                                                   TERMS.index(key.terms)))
        verdicts = self.verdicts()
        (self.args.folder / "attention.json").write_text(json.dumps({
            "machine": self.machine, "ceilings": self.ceilings, "goals": verdicts, "failed": self.failed,
            "missing": self.missing, "rows": [self.rows[key] for key in keys]}, indent=1) + "\n")
        unit = "GB/s" if self.args.last_query else "TFLOP/s"
        lines = [", ".join(f"{name} {value}" for name, value in self.machine.items()), ""]
        if self.ceilings is not None:
            lines += [f"Ceilings of this run: {self.ceilings['matmul_tflops']:.4g} TFLOP/s (a product in bf16), "
                      f"{self.ceilings['copy_gb_s']:.4g} GB/s (a copy)", ""]
        lines += [f"Failed: {what}" for what in self.failed]
        lines += [f"Left out: {one['side']}{', ' + one['terms'] if one['terms'] else ''}: {one['why']}"
                  for one in self.missing]
        if verdicts:
            lines += ["| goal | terms | T | sequences | at least | found | forward | backward | verdict |",
                      "|" + " --- |" * 9]
        for row in verdicts:
            found = row["found"]
            cells = (f"{row['sequences']} | {row['at_least']} | {found['median']:.2f} ({found['low']:.2f}–"
                     f"{found['high']:.2f}) | {row['forward']:.2f} | {row['backward']:.2f}"
                     if found else f"– | {row['at_least']} | – | – | –")
            lines.append(f"| {row['goal']}: {row['what']} | {row['terms']} | {row['length']:,} | {cells} | "
                         f"{row['verdict']} |")
        lines += ["", f"In {unit}; of the peak: of forward and backward, or forward alone.", "",
                  "| T | sequences | heads | terms | side | forward | backward | of the peak | rounds |",
                  "|" + " --- |" * 9]
        for key in keys:
            of_peak = self.peak(key, "both") or self.peak(key, "forward")
            lines.append(f"| {key.length:,} | {key.batch} | {key.heads} x {key.head_dim} | {key.terms} | {key.side} | "
                         f"{self.cell(key, 'forward')} | {self.cell(key, 'backward')} | "
                         f"{'–' if of_peak is None else f'{of_peak:.2f}'} | {len(self.times[key])} |")
        (self.args.folder / "attention.md").write_text("\n".join(lines) + "\n")


def measure_ours(args, results, length, is_first):
    sides = {OURS: ["--terms", ",".join(args.terms)]}
    skipping = [terms for terms in args.terms if terms in SKIPPING]
    if args.skip and skipping:
        sides[SKIPPING_SIDE] = ["--skip", "24", "--terms", ",".join(skipping)]
    if args.single_backward:
        sides[SINGLE_SIDE] = ["--backward", "single", *sides[OURS]]
    if args.unordered_backward:
        sides[UNORDERED_SIDE] = ["--backward", "unordered", *sides[OURS]]
    if args.last_query:
        sides = {side: ["--queries", "1", *options] for side, options in sides.items()}
    if is_first and args.batch * length <= CHECKED_TOKENS_MAX:
        sides = {side: ["--check", str(1 if args.last_query else CHECKED_QUERIES), *options]
                 for side, options in sides.items()}
    for side, options in sides.items():
        command = [str(args.bench), "--batch", str(args.batch), "--heads", str(args.heads), "--head-dim",
                   str(args.head_dim), "--types", "bf16", *options, str(length)]
        found = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        # A program that fails may leave a part of a row.
        for row in map(json.loads, (line for line in found.stdout.splitlines() if line.endswith("}"))):
            forward, backward = ({"ms": row[f"{which}_ms"], "graph_ms": row.get(f"{which}_graph_ms")}
                                 if f"{which}_ms" in row else None for which in PASSES[:2])
            results.add(args, side, row["terms"], row["length"], forward, backward,
                        **{name: row[name] for name in ("input_sets", "error", "visited") if name in row})
            if "visited" in row:
                print(f"{row['terms']}, {row['length']} tokens: {row['visited']} of the pairs are visited", flush=True)
        if found.returncode != 0:
            results.fail(f"exit code {found.returncode} of {' '.join(command)}")


def said_of(error):
    """The first line of an exception, or its name if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def repeat(torch, call, n_call, n_min, limit_ms):
    """The times of up to n_call calls: fewer, but at least n_min, once they have taken limit_ms."""
    times = []
    while len(times) < n_call and (len(times) < n_min or sum(times) < limit_ms):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return times


def milliseconds(torch, call):
    """{"ms", "graph_ms" or None} of a call that works on the current stream."""
    repeat(torch, call, WARM_CALLS, WARM_CALLS_MIN, WARM_MS)
    ms = statistics.median(repeat(torch, call, TIMED_CALLS, TIMED_CALLS_MIN, TIMED_MS))
    return {"ms": ms, "graph_ms": graph_milliseconds(torch, call) if ms < GRAPH_MS else None}


def graph_milliseconds(torch, call):
    """The time of a call within a CUDA graph; None, and a line that says why, if it cannot be recorded."""
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            for _ in range(GRAPH_CALLS):
                call()
        repeat(torch, graph.replay, GRAPH_WARM, GRAPH_WARM, WARM_MS)
        return statistics.median(repeat(torch, graph.replay, GRAPH_LAUNCHES, TIMED_CALLS_MIN, TIMED_MS)) / GRAPH_CALLS
    except Exception as error:  # pylint: disable=broad-except
        print(f"not timed as a CUDA graph: {said_of(error)}", flush=True)
        return None


def ceilings(torch):
    """What this GPU reaches now: a product of random numbers in bf16, and a copy."""
    n, n_copied = 8192, 1 << 29
    a, b = (torch.randn((n, n), device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product_ms = milliseconds(torch, lambda: a @ b)["ms"]
    x = torch.randn(n_copied, device="cuda")
    y = torch.empty_like(x)
    copy_ms = milliseconds(torch, lambda: y.copy_(x))["ms"]
    return {"matmul_tflops": 2.0 * n**3 / product_ms * 1e-9, "copy_gb_s": 2.0 * 4 * n_copied / copy_ms * 1e-6}


class Term:
    """What a term adds to the scores of one length, and hides: for FlexAttention, and as a dense matrix."""

    def __init__(self, torch, name, args, length, device):
        self.learned = []  # tensors whose gradient is computed

        def learn(*shape):
            numbers = torch.rand(*shape, device=device, requires_grad=args.gradients)
            self.learned.append(numbers)
            return numbers

        self.score, self.shows = None, lambda b, h, query, key: query >= key
        if name == "key_bias":
            bias = learn(args.batch, args.heads, length)
            self.score = lambda s, b, h, query, key: s + bias[b, h, key]
        elif name == "two_sided":
            bias = learn(args.batch, args.heads, length)
            self.score = lambda s, b, h, query, key: s + torch.where(
                query >= key, bias[b, h, query] - bias[b, h, key], bias[b, h, key] - bias[b, h, query])
        elif name == "alibi":
            slope = torch.tensor([2.0 ** (-8.0 * (h + 1) / args.heads) for h in range(args.heads)], device=device)
            self.score = lambda s, b, h, query, key: s - slope[h] * (query - key)
        elif name == "distance_table":
            table = learn(args.heads, DISTANCES)
            self.score = lambda s, b, h, query, key: s + table[h, torch.clamp(query - key, 0, DISTANCES - 1)]
        elif name == "kerple":
            factor, reach = learn(args.heads), learn(args.heads)
            self.score = lambda s, b, h, query, key: s - factor[h] * torch.log(1 + reach[h] * torch.abs(query - key))
        elif name == "window":
            self.shows = lambda b, h, query, key: (query >= key) & (query - key < WINDOW)
        elif name == "documents":
            at = torch.arange(length, device=device)
            document = 2 * (at // 1000) + (at % 1000 >= 250)
            self.shows = lambda b, h, query, key: (query >= key) & (document[query] == document[key])


class Peers:
    """What torch offers on this device; nothing (`torch` is None) without a torch."""

    def __init__(self, args, device, compiles):
        self.torch, self.flex, self.args, self.device = None, None, args, device
        self.missing = {}  # (peer, terms or None: all): why
        self.terms, self.masks = {}, {}
        try:
            import torch
        except ImportError as error:
            self.missing.update({(peer, None): f"{sys.executable} cannot import torch: {said_of(error)}"
                                 for peer in args.peers})
            return
        self.torch = torch
        if "flex" not in args.peers:
            return
        try:
            self.open_flex(compiles)
        except ImportError as error:
            self.missing["flex", None] = f"this torch has no FlexAttention: {said_of(error)}"

    def open_flex(self, compiles):
        import torch
        from torch.nn.attention.flex_attention import flex_attention
        self.flex = flex_attention
        if compiles:
            import torch._dynamo.config
            import torch._functorch.config
            # Several backward passes follow one forward pass here.
            torch._functorch.config.donated_buffer = False
            # FlexAttention is compiled for each term and length, by default at most 8 times.
            torch._dynamo.config.recompile_limit = 100
            self.flex = torch.compile(flex_attention, dynamic=False)

    def cases(self, length):
        """(peer, terms) in the order of their worth."""
        peers = [(peer, "none") for peer in ("flash", "cudnn", "efficient")]
        if not self.args.last_query:
            peers += [("cudnn_dense_bias", "alibi"), ("efficient_dense_bias", "alibi")]
            peers += [("flex", terms) for terms in ("key_bias", "none", "alibi", "distance_table", "kerple", "window",
                                                    "documents", "two_sided") if length in self.args.flex_lengths]
        return [(peer, terms) for peer, terms in peers if peer in self.args.peers and terms in self.args.terms
                and (peer, terms) not in self.missing and (peer, None) not in self.missing]

    def term(self, name, length):
        # The same functions each time, so that they are compiled once.
        if (name, length) not in self.terms:
            self.terms[name, length] = Term(self.torch, name, self.args, length, self.device)
        return self.terms[name, length]

    def dense(self, name, length, dtype):
        """(1, H, T, T) or (B, H, T, T): what is added to the scores, -inf where a key is hidden."""
        torch, term = self.torch, self.term(name, length)
        n_batch = self.args.batch if name in ("key_bias", "two_sided") else 1
        b = torch.arange(n_batch, device=self.device).view(-1, 1, 1, 1)
        h = torch.arange(self.args.heads, device=self.device).view(1, -1, 1, 1)
        query = torch.arange(length, device=self.device).view(1, 1, -1, 1)
        key = torch.arange(length, device=self.device).view(1, 1, 1, -1)
        hidden = ~term.shows(b, h, query, key)
        zero = torch.zeros((), device=self.device)
        bias = zero if term.score is None else term.score(zero, b, h, query, key)
        return bias.to(dtype).expand(b.numel(), h.numel(), length, length).masked_fill(hidden, -math.inf)

    def mask(self, name, length):
        from torch.nn.attention.flex_attention import create_block_mask
        shows = name if name in ("window", "documents") else "none"
        if (shows, length) not in self.masks:
            self.masks[shows, length] = create_block_mask(self.term(shows, length).shows, None, None, length, length,
                                                          device=self.device)
        return self.masks[shows, length]

    def call(self, peer, terms, length):
        """(q, k, v) -> o"""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        attention = self.torch.nn.functional.scaled_dot_product_attention
        if peer == "flex":
            score, mask = self.term(terms, length).score, self.mask(terms, length)
            return lambda q, k, v: self.flex(q, k, v, score_mod=score, block_mask=mask)
        backend = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
                   "efficient": SDPBackend.EFFICIENT_ATTENTION}[peer.removesuffix(DENSE_BIAS)]
        bias = self.dense(terms, length, self.torch.bfloat16) if peer.endswith(DENSE_BIAS) else None

        def call(q, k, v):
            with sdpa_kernel(backend):
                return attention(q, k, v, attn_mask=bias, is_causal=bias is None and not self.args.last_query)
        return call

    def inputs(self, length, dtype):
        """q, k, v and the gradient of o."""
        def random(n_row):
            return self.torch.randn((self.args.batch, self.args.heads, n_row, self.args.head_dim), device=self.device,
                                    dtype=dtype, requires_grad=self.args.gradients)
        n_query = 1 if self.args.last_query else length
        return random(n_query), random(length), random(length), random(n_query).detach()

    def input_sets(self, length):
        """As many as fill the L2 cache twice, as in kernels/cuda/attention_bench.cc; one if that does not hold it."""
        first = self.inputs(length, self.torch.bfloat16)
        n_byte = sum(one.numel() for one in (*first, first[0])) * 2
        l2_bytes = getattr(self.torch.cuda.get_device_properties(0), "L2_cache_size", 60 << 20)
        n = 1 if n_byte > l2_bytes else min(16, max(3, math.ceil(2 * l2_bytes / n_byte)))
        return [first] + [self.inputs(length, self.torch.bfloat16) for _ in range(n - 1)]

    def measure(self, results, length):
        torch, cases = self.torch, self.cases(length)
        if not cases:
            return
        # Only on a stream of its own can backward be recorded: it works on the stream of forward.
        with torch.cuda.stream(torch.cuda.Stream()):
            sets = self.input_sets(length)
            for peer, terms in cases:
                if not results.in_time():
                    return
                try:
                    self.measure_one(results, sets, peer, terms, length)
                except Exception as error:  # pylint: disable=broad-except
                    self.missing[peer, terms] = said_of(error)
                    results.leave_out(peer, terms, f"{length} tokens: {said_of(error)}")
                    print(f"{peer}, {terms}, {length} tokens: not measured: {said_of(error)}", flush=True)

    def measure_one(self, results, sets, peer, terms, length):
        torch, args = self.torch, self.args
        call, turn = self.call(peer, terms, length), itertools.count()
        learned = self.term(terms, length).learned if peer == "flex" else []
        backward = None
        if args.gradients:
            outputs = [call(q, k, v) for q, k, v, _ in sets]

            def gradients():
                at = next(turn) % len(sets)
                q, k, v, do = sets[at]
                torch.autograd.grad(outputs[at], (q, k, v, *learned), do, retain_graph=True)
            backward = milliseconds(torch, gradients)
        forward = milliseconds(torch, lambda: call(*sets[next(turn) % len(sets)][:3]))
        results.add(args, peer, terms, length, forward, backward, input_sets=len(sets))


def check(args):
    """Exits with 1 if FlexAttention with a term does not compute softmax(q k / sqrt(d) + bias) v, or its gradients."""
    import torch
    importlib.import_module("torch.nn.attention.flex_attention")  # an ImportError is the caller's
    args.batch, args.heads, args.head_dim, args.flex_lengths = 2, 3, 16, [CHECKED_LENGTH]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.gradients = device == "cuda"  # on a CPU, FlexAttention has none
    peers = Peers(args, device, compiles=False)
    torch.manual_seed(1)
    wrong = False
    q, k, v, do = peers.inputs(CHECKED_LENGTH, torch.float32)
    for peer, terms in peers.cases(CHECKED_LENGTH):
        if peer != "flex":
            continue
        inputs = (q, k, v, *peers.term(terms, CHECKED_LENGTH).learned)
        found = peers.call(peer, terms, CHECKED_LENGTH)(q, k, v)
        scores = q @ k.transpose(2, 3) / math.sqrt(args.head_dim) + peers.dense(terms, CHECKED_LENGTH, torch.float32)
        expected = scores.softmax(-1) @ v
        pairs = [(found, expected)]
        if args.gradients:
            pairs += zip(*(torch.autograd.grad(o, inputs, do) for o in (found, expected)))
        worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
        print(f"{terms}, {device}: FlexAttention's o and {len(pairs) - 1} gradients differ by {worst:.1e}; expected at "
              "most 1e-4")
        wrong |= not worst <= 1e-4
    return 1 if wrong else 0


def arguments():
    def numbers(text):
        return [int(n) for n in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=BENCH, type=pathlib.Path, help=f"default: {BENCH}")
    parser.add_argument("--folder", default="build/gpu", type=pathlib.Path, help="default: build/gpu")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--goals", default=None, help="all, or some of " + ",".join(known_goals()))
    parser.add_argument("--shapes", action="store_true", help="after the goals, also other lengths, and heads of 128")
    parser.add_argument("--lengths", default=[1024, 4096, 16384], type=numbers)
    parser.add_argument("--flex-lengths", default=None, type=numbers)
    parser.add_argument("--terms", default=None, type=lambda text: text.split(","))
    parser.add_argument("--peers", default=PEERS, type=lambda text: [] if text == "none" else text.split(","))
    parser.add_argument("--batch", default=1, type=int)
    parser.add_argument("--heads", default=12, type=int)
    parser.add_argument("--head-dim", default=64, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=0, type=int)
    parser.add_argument("--last-query", action="store_true")
    parser.add_argument("--skip", action="store_true")
    parser.add_argument("--single-backward", action="store_true")
    parser.add_argument("--unordered-backward", action="store_true")
    return parser


def known_goals():
    return sorted({name for goals, _ in RUNS for name in goals.split(",") if name})


def complete(parser, args):
    args.gradients = not args.last_query
    args.terms = args.terms or (LAST_QUERY_TERMS if args.last_query else TERMS)
    args.flex_lengths = args.lengths if args.flex_lengths is None else args.flex_lengths
    for option, given, known in (("--terms", args.terms, TERMS), ("--peers", args.peers, PEERS),
                                 ("--goals", asked_goals(args), known_goals())):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{option}: {', '.join(unknown)}: expected some of {','.join(known)}")
    return args


def asked_goals(args):
    if args.goals is None:
        return []
    return known_goals() if args.goals == "all" else args.goals.split(",")


def runs_of(parser, args):
    """The arguments of each run."""
    if args.goals is None:
        return [args]
    asked = set(asked_goals(args))
    runs = [options for goals, options in RUNS if args.goals == "all" or asked & set(goals.split(","))]
    runs += [options for _, options in all_shapes()] if args.shapes else []
    return [complete(parser, parser.parse_args([*options.split(), "--bench", str(args.bench)])) for options in runs]


def main():
    parser = arguments()
    args = complete(parser, parser.parse_args())
    if args.goals is not None and args.last_query:
        parser.error("--last-query: no goal has it; leave out --goals")
    if args.shapes and args.goals is None:
        parser.error("--shapes: comes after --goals, which is missing")
    if args.check:
        try:
            return check(args)
        except ImportError as error:
            print(f"skipped: {sys.executable} cannot import torch with FlexAttention: {error}")
            return 77
    if not args.bench.exists():
        parser.error(f"--bench: there is no {args.bench}; `./dev gpu --stages tests` builds {BENCH}")
    args.folder.mkdir(parents=True, exist_ok=True)

    runs = runs_of(parser, args)
    results = Results(args)
    results.goals = asked_goals(args)
    runs = [(run, Peers(run, "cuda", compiles=True)) for run in runs]
    describe(results, runs[0][1].torch)
    for (peer, terms), why in (item for _, peers in runs for item in peers.missing.items()):
        results.leave_out(peer, terms, why)
    if any(run.peers and peers.torch is None for run, peers in runs):
        results.fail(f"{sys.executable} cannot import torch: only ours is measured")
    measure(args, results, runs)
    print((args.folder / "attention.md").read_text())
    return 1 if results.failed else 0


def describe(results, torch):
    """The machine, and what it reaches, which only torch can measure."""
    query = ["nvidia-smi", "--format=csv,noheader"]
    results.machine.update(
        gpu=first_line([*query, "--query-gpu=name"]), torch=torch.__version__ if torch else "none",
        driver=first_line([*query, "--query-gpu=driver_version"]),
        clocks=first_line([*query, "--query-gpu=clocks.sm,clocks.max.sm,clocks.mem"]))
    if torch:
        try:
            results.machine["gpu"] = torch.cuda.get_device_name()
            results.ceilings = ceilings(torch)
        except Exception as error:  # pylint: disable=broad-except
            results.fail(f"the ceilings are not measured: {said_of(error)}")
    results.write()


def check_flex(args, results, runs):
    """Does FlexAttention compute the formulas? If that ends with an error, it is left out."""
    terms = sorted({one for run, _ in runs for one in run.terms}, key=TERMS.index)
    try:
        if check(argparse.Namespace(**{**vars(args), "terms": terms, "peers": ["flex"]})) != 0:
            results.fail("FlexAttention does not compute the formulas of all terms; the lines above say which")
    except Exception as error:  # pylint: disable=broad-except
        why = f"its check ended with {type(error).__name__}: {said_of(error)}"
        print(f"flex: not measured: {why}", flush=True)
        for _, peers in runs:
            peers.missing["flex", None] = why
        results.leave_out("flex", None, why)


def measure(args, results, runs):
    with_flex = [(run, peers) for run, peers in runs
                 if "flex" in run.peers and not run.last_query and ("flex", None) not in peers.missing]
    is_checked = False
    for at in range(args.rounds):
        for run, peers in runs:
            for length in run.lengths:
                if results.times and not results.in_time():
                    print(f"{args.seconds} seconds have passed: round {at + 1} ends before {length} tokens of "
                          f"{run.heads} heads with {','.join(run.terms)}", flush=True)
                    return
                measure_ours(run, results, length, at == 0)
                if (run, peers) in with_flex and not is_checked:
                    check_flex(args, results, with_flex)
                    is_checked = True
                peers.measure(results, length)


if __name__ == "__main__":
    sys.exit(main())
