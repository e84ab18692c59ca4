"""Fused attention of liblongrun_cuda.so on a GPU beside LibTorch's: forward and backward, in turns.

  gpu_attention_bench.py --bench build/trainer-only/bin/longrun-cuda-attention-bench --folder FOLDER

Writes FOLDER/attention.json and FOLDER/attention.md. Causal, bf16, one sequence (or --batch), 12 heads of 64. In
each round every side measures every length, by CUDA's events, the median of ten calls after two. The
peers are torch's scaled_dot_product_attention through flash attention and through cuDNN, neither of
which has a gradient of a bias, and compiled FlexAttention (--peers flex), also with a learned bias of
each key. A peer that this torch does not have is told and left out. --last-query measures what writes a
token: forward of one query that sees all keys, in GB/s of the keys and values. --skip also measures ours while it skips
keys that hold at most 2^-24 of a row, with the key bias and with ALiBi's; its rates count all keys, so that ratios of
rates are ratios of times. --single-backward also measures ours with backward in a single kernel. Standard library only
here; needs a python3 that can import torch.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

TERMS = ["none", "key_bias", "alibi", "rotation"]
SKIPPING = ["--skip", "24", "--terms", "key_bias,alibi"]


def work(args, length):
    """FLOP of a forward pass, half of it masked; a backward pass counts 2.5 times. With --last-query, bytes."""
    if args.last_query:
        return 2.0 * 2 * args.batch * args.heads * args.head_dim * length
    return 2.0 * args.batch * args.heads * args.head_dim * length * length


def ours(args):
    sides = {"longrun": ["--terms", ",".join(TERMS)]} | ({"longrun, skipping": SKIPPING} if args.skip else {})
    if args.single_backward:
        sides["longrun, single backward"] = ["--backward", "single", *sides["longrun"]]
    times = {}
    for side, options in sides.items():
        found = subprocess.run(
            [str(args.bench), "--batch", str(args.batch), "--heads", str(args.heads), "--head-dim", str(args.head_dim),
             "--types", "bf16", *options, *(["--queries", "1"] if args.last_query else []), *map(str, args.lengths)],
            check=True, stdout=subprocess.PIPE, text=True)
        for row in map(json.loads, found.stdout.splitlines()):
            times[side, row["terms"], row["length"]] = (row["forward_ms"], row.get("backward_ms"))
            if "visited" in row:
                print(f"{row['terms']}, {row['length']} tokens: {row['visited']} of the pairs are visited", flush=True)
    return times


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


class Peers:
    """What torch offers on this GPU, by name: call(q, k, v) -> o."""

    def __init__(self, args):
        import torch
        import torch._functorch.config
        import torch.nn.functional as F
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        self.torch, self.args, self.missing = torch, args, set()
        # Several backward passes follow one forward pass here.
        torch._functorch.config.donated_buffer = False
        flex = torch.compile(flex_attention, dynamic=False)

        def sdpa(backend):
            def call(q, k, v, _):
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=not args.last_query)
            return call

        def with_key_bias(q, k, v, bias):
            def score(s, _batch, head, _query, key):
                return s + bias[head, key]
            return flex(q, k, v, score_mod=score, block_mask=self.mask(create_block_mask, q.shape[2]))

        def plain(q, k, v, _):
            return flex(q, k, v, block_mask=self.mask(create_block_mask, q.shape[2]))

        self.calls = {("flash", "none"): sdpa(SDPBackend.FLASH_ATTENTION),
                      ("cudnn", "none"): sdpa(SDPBackend.CUDNN_ATTENTION),
                      ("flex", "none"): plain, ("flex", "key_bias"): with_key_bias}
        known = ["flash", "cudnn"] if args.last_query else ["flash", "cudnn", "flex"]
        self.calls = {key: call for key, call in self.calls.items() if key[0] in args.peers and key[0] in known}
        self.masks = {}

    def mask(self, create, length):
        if length not in self.masks:
            self.masks[length] = create(lambda b, h, query, key: query >= key, None, None, length,
                                        length, device="cuda")
        return self.masks[length]

    def measure(self):
        found = {}
        torch = self.torch
        for length in self.args.lengths:
            def random(n_row):
                return torch.randn((self.args.batch, self.args.heads, n_row, self.args.head_dim), device="cuda",
                                   dtype=torch.bfloat16, requires_grad=not self.args.last_query)
            n_query = 1 if self.args.last_query else length
            q, k, v, do = random(n_query), random(length), random(length), random(n_query).detach()
            bias = torch.randn(self.args.heads, length, device="cuda", requires_grad=True)
            for (name, terms), call in self.calls.items():
                if (name, terms) in self.missing:
                    continue
                inputs = (q, k, v, bias) if terms == "key_bias" else (q, k, v)
                try:
                    o = call(q, k, v, bias)
                    backward_ms = None if self.args.last_query else milliseconds(
                        torch, lambda: torch.autograd.grad(o, inputs, do, retain_graph=True))
                    found[name, terms, length] = (milliseconds(torch, lambda: call(q, k, v, bias)), backward_ms)
                except Exception as error:  # pylint: disable=broad-except
                    self.missing.add((name, terms))
                    print(f"{name}, {terms}: not measured: {str(error).splitlines()[0]}", flush=True)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, type=pathlib.Path)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--lengths", default=[1024, 4096, 16384],
                        type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--peers", default=["flash", "cudnn", "flex"], type=lambda text: text.split(","))
    parser.add_argument("--batch", default=1, type=int)
    parser.add_argument("--heads", default=12, type=int)
    parser.add_argument("--head-dim", default=64, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--last-query", action="store_true")
    parser.add_argument("--skip", action="store_true")
    parser.add_argument("--single-backward", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    peers = Peers(args)
    peers.measure()  # compiles FlexAttention
    times = {}
    for _ in range(args.rounds):
        for key, value in (ours(args) | peers.measure()).items():
            times.setdefault(key, []).append(value)

    def rate(key, which):
        if times[key][0][which] is None:
            return "–"
        per_ms = work(args, key[2]) * (1.0, 2.5)[which] * (1e-6 if args.last_query else 1e-9)
        rates = sorted(per_ms / value[which] for value in times[key])
        return f"{statistics.median(rates):.4g} ({rates[0]:.4g}–{rates[-1]:.4g})"

    (args.folder / "attention.json").write_text(json.dumps(
        [{"side": name, "terms": terms, "length": length, "ms": value}
         for (name, terms, length), value in times.items()], indent=1) + "\n")
    unit = "GB/s" if args.last_query else "TFLOP/s"
    lines = [f"{peers.torch.cuda.get_device_name()}, torch {peers.torch.__version__}; {unit}", "",
             "| T | terms | side | forward | backward |", "|" + " --- |" * 5]
    for key in sorted(times, key=lambda key: (key[2], TERMS.index(key[1]))):
        lines.append(f"| {key[2]:,} | {key[1]} | {key[0]} | {rate(key, 0)} | {rate(key, 1)} |")
    (args.folder / "attention.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
