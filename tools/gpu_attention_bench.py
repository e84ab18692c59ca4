"""Fused attention of liblongrun_cuda.so on a GPU beside PyTorch's: forward and backward, in turns.

  gpu_attention_bench.py [--bench PROGRAM] [--folder FOLDER]
  gpu_attention_bench.py --check     does FlexAttention compute the terms' formulas? On a GPU with gradients

Writes FOLDER/attention.json and FOLDER/attention.md, again after each measurement. Causal, bf16, one sequence (or
--batch), 12 heads of 64. In each round every side measures every length, by CUDA's events, the median of ten calls
after two. The terms are those of the program (kernels/cuda/attention_bench.cc); rates count all keys that causality
shows, even if they are skipped, or hidden by a window or documents, so that ratios of rates are ratios of times.

The peers are torch's scaled_dot_product_attention through flash attention, cuDNN and the memory-efficient kernel, none
of which has a bias; cuDNN with ALiBi's bias as a dense matrix, which has no gradient; and compiled FlexAttention, with
the gradients of what a model learns. FlexAttention takes KERPLE's own two numbers for each head; ours takes a table of
its values, and the table's gradient. Nobody but us has a rotation or FIRE inside the kernel. A peer that this torch
does not have is named and left out. Compiling FlexAttention takes long: --flex-lengths names the lengths for it.

--seconds ends the rounds after this time. --last-query measures what writes a token: forward of one query that sees all
keys, in GB/s of the keys and values. --skip also measures ours while it skips keys that hold at most 2^-24 of a row,
with the key bias and with ALiBi's. --single-backward also measures ours with backward in a single kernel. Standard
library only here; needs a python3 that can import torch.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

TERMS = ["none", "key_bias", "two_sided", "alibi", "distance_table", "kerple", "fire", "rotation", "window",
         "documents"]
LAST_QUERY_TERMS = ["none", "key_bias", "alibi", "rotation"]
SKIPPING = ["key_bias", "alibi"]
PEERS = ["flash", "cudnn", "efficient", "cudnn_dense_bias", "flex"]
BENCH = "build/trainer-only/bin/longrun-cuda-attention-bench"
WINDOW, DISTANCES = 1024, 128
CHECKED_LENGTH = 1500  # more than the window, and than one document


def work(args, length):
    """FLOP of a forward pass, half of it masked; a backward pass counts 2.5 times. With --last-query, bytes."""
    if args.last_query:
        return 2.0 * 2 * args.batch * args.heads * args.head_dim * length
    return 2.0 * args.batch * args.heads * args.head_dim * length * length


class Results:
    """(side, terms, length): [(forward_ms, backward_ms or None) of each round], kept on disk."""

    def __init__(self, args):
        self.args, self.times, self.begin = args, {}, time.monotonic()
        self.device = "no GPU"

    def in_time(self):
        return not self.args.seconds or time.monotonic() - self.begin < self.args.seconds

    def add(self, side, terms, length, forward_ms, backward_ms):
        self.times.setdefault((side, terms, length), []).append((forward_ms, backward_ms))
        self.write()

    def rate(self, key, which):
        if self.times[key][0][which] is None:
            return "–"
        per_ms = work(self.args, key[2]) * (1.0, 2.5)[which] * (1e-6 if self.args.last_query else 1e-9)
        rates = sorted(per_ms / value[which] for value in self.times[key])
        return f"{statistics.median(rates):.4g} ({rates[0]:.4g}–{rates[-1]:.4g})"

    def write(self):
        rows = [{"side": side, "terms": terms, "length": length, "ms": ms}
                for (side, terms, length), ms in self.times.items()]
        (self.args.folder / "attention.json").write_text(json.dumps(rows, indent=1) + "\n")
        unit = "GB/s" if self.args.last_query else "TFLOP/s"
        lines = [f"{self.device}; {unit}", "", "| T | terms | side | forward | backward | rounds |",
                 "|" + " --- |" * 6]
        for key in sorted(self.times, key=lambda key: (key[2], TERMS.index(key[1]))):
            lines.append(f"| {key[2]:,} | {key[1]} | {key[0]} | {self.rate(key, 0)} | {self.rate(key, 1)} | "
                         f"{len(self.times[key])} |")
        (self.args.folder / "attention.md").write_text("\n".join(lines) + "\n")


def measure_ours(args, results, length):
    sides = {"longrun": ["--terms", ",".join(args.terms)]}
    skipping = [terms for terms in args.terms if terms in SKIPPING]
    if args.skip and skipping:
        sides["longrun, skipping"] = ["--skip", "24", "--terms", ",".join(skipping)]
    if args.single_backward:
        sides["longrun, single backward"] = ["--backward", "single", *sides["longrun"]]
    for side, options in sides.items():
        found = subprocess.run(
            [str(args.bench), "--batch", str(args.batch), "--heads", str(args.heads), "--head-dim", str(args.head_dim),
             "--types", "bf16", *options, *(["--queries", "1"] if args.last_query else []), str(length)],
            check=True, stdout=subprocess.PIPE, text=True)
        for row in map(json.loads, found.stdout.splitlines()):
            results.add(side, row["terms"], row["length"], row["forward_ms"], row.get("backward_ms"))
            if "visited" in row:
                print(f"{row['terms']}, {row['length']} tokens: {row['visited']} of the pairs are visited", flush=True)


def milliseconds(torch, call):
    times = []
    for at in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        if at >= 2:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


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
    """What torch offers on this device."""

    def __init__(self, args, device, compiles):
        import torch
        from torch.nn.attention.flex_attention import flex_attention
        self.torch, self.args, self.device, self.missing = torch, args, device, set()
        self.terms, self.masks = {}, {}
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
            peers.append(("cudnn_dense_bias", "alibi"))
            peers += [("flex", terms) for terms in ("key_bias", "none", "alibi", "distance_table", "kerple", "window",
                                                    "documents", "two_sided") if length in self.args.flex_lengths]
        return [(peer, terms) for peer, terms in peers if peer in self.args.peers and terms in self.args.terms
                and (peer, terms) not in self.missing]

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
        backend = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
                   "cudnn": SDPBackend.CUDNN_ATTENTION, "cudnn_dense_bias": SDPBackend.CUDNN_ATTENTION}[peer]
        bias = self.dense(terms, length, self.torch.bfloat16) if peer == "cudnn_dense_bias" else None

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

    def measure(self, results, length):
        torch = self.torch
        q, k, v, do = self.inputs(length, torch.bfloat16)
        for peer, terms in self.cases(length):
            if not results.in_time():
                return
            try:
                call = self.call(peer, terms, length)
                o = call(q, k, v)
                inputs = (q, k, v, *(self.term(terms, length).learned if peer == "flex" else []))
                backward_ms = milliseconds(torch, lambda: torch.autograd.grad(
                    o, inputs, do, retain_graph=True)) if self.args.gradients else None
                results.add(peer, terms, length, milliseconds(torch, lambda: call(q, k, v)), backward_ms)
            except Exception as error:  # pylint: disable=broad-except
                self.missing.add((peer, terms))
                print(f"{peer}, {terms}, {length} tokens: not measured: {str(error).splitlines()[0]}", flush=True)


def check(args):
    """Exits with 1 if FlexAttention with a term does not compute softmax(q k / sqrt(d) + bias) v, or its gradients."""
    import torch
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


def main():
    def numbers(text):
        return [int(n) for n in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=BENCH, type=pathlib.Path, help=f"default: {BENCH}")
    parser.add_argument("--folder", default="build/gpu", type=pathlib.Path, help="default: build/gpu")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--lengths", default=[1024, 4096, 16384], type=numbers)
    parser.add_argument("--flex-lengths", default=None, type=numbers)
    parser.add_argument("--terms", default=None, type=lambda text: text.split(","))
    parser.add_argument("--peers", default=PEERS, type=lambda text: text.split(","))
    parser.add_argument("--batch", default=1, type=int)
    parser.add_argument("--heads", default=12, type=int)
    parser.add_argument("--head-dim", default=64, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=0, type=int)
    parser.add_argument("--last-query", action="store_true")
    parser.add_argument("--skip", action="store_true")
    parser.add_argument("--single-backward", action="store_true")
    args = parser.parse_args()
    args.gradients = not args.last_query
    args.terms = args.terms or (LAST_QUERY_TERMS if args.last_query else TERMS)
    args.flex_lengths = args.lengths if args.flex_lengths is None else args.flex_lengths
    for option, given, known in (("--terms", args.terms, TERMS), ("--peers", args.peers, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{option}: {', '.join(unknown)}: expected some of {','.join(known)}")
    if args.check:
        try:
            return check(args)
        except ImportError as error:
            print(f"skipped: {sys.executable} cannot import torch with FlexAttention: {error}")
            return 77
    if not args.bench.exists():
        parser.error(f"--bench: there is no {args.bench}; `./dev gpu --stages tests` builds {BENCH}")
    args.folder.mkdir(parents=True, exist_ok=True)

    code = check(argparse.Namespace(**vars(args))) if "flex" in args.peers and not args.last_query else 0
    results, peers = Results(args), Peers(args, "cuda", compiles=True)
    results.device = f"{peers.torch.cuda.get_device_name()}, torch {peers.torch.__version__}"
    for at in range(args.rounds):
        for length in args.lengths:
            if at > 0 and not results.in_time():
                print(f"{args.seconds} seconds have passed: round {at + 1} ends before {length} tokens", flush=True)
                break
            measure_ours(args, results, length)
            peers.measure(results, length)
    print((args.folder / "attention.md").read_text())
    return code


if __name__ == "__main__":
    sys.exit(main())
