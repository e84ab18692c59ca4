"""The quick start's model in plain PyTorch, as one would write it: the peer of tools/bench.py and
tools/gpu_bench.py.

  torch_peer.py train METHOD --tokens FILE [--steps N] [--warm N] [--batch-tokens N]
  torch_peer.py evaluate METHOD --tokens FILE

Both take --length N, --shape LAYERS,HEADS,WIDTH, --vocabulary N, --device cpu|cuda, --precision fp32|bf16 (under
autocast) and --compile, which compiles the loss of a batch by torch.compile.

Needs a Python that can import torch, and nothing of longrun's but tools/gpu_models.py, where shape and
recipe come from. The architecture is GPT-2's (pre-norm, biases, gelu_new, tied head); attention is
torch's scaled_dot_product_attention where that is exact (none, rope, sinusoidal), and softmax(QK + bias)
written out where there is a bias (alibi, cable). AdamW is torch's fused one, gradients are clipped.
FILE holds bytes of text: each is a token. One thread. Prints one JSON line:

  {"tokens", "wall_s", "cpu_s", "loss", "peak_bytes"}

of the steps after the warm-up, or of the evaluation; peak_bytes is the GPU allocator's, null on a CPU.
"""
import argparse
import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

from gpu_models import MODEL, TRAIN

EVALUATION_TOKENS = 4096  # in one forward pass, as longrun takes them


class Attention(torch.nn.Module):
    def __init__(self, method, n_head, width):
        super().__init__()
        self.method, self.n_head, self.head_dim = method, n_head, width // n_head
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.out = torch.nn.Linear(width, width)
        if method == "cable":
            self.gate = torch.nn.Linear(width, n_head)
        self.tables = {}

    def table(self, n, make):
        """What depends on the length alone is made once."""
        if n not in self.tables:
            self.tables[n] = make()
        return self.tables[n]

    def rotate(self, x, n):
        def make():
            frequency = 10000.0 ** (
                -2.0 * torch.arange(self.head_dim // 2, dtype=torch.float64) / self.head_dim)
            angle = torch.outer(torch.arange(n, dtype=torch.float64), frequency)
            return angle.cos().to(x), angle.sin().to(x)
        cos, sin = self.table(n, make)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def static_bias(self, n, device):
        def make():
            bias = torch.full((n, n), -math.inf, device=device).triu(1)
            if self.method == "alibi":
                slopes = [2.0 ** (-8.0 * (h + 1) / self.n_head) for h in range(self.n_head)]
                at = torch.arange(n, device=device)
                bias = bias + (torch.tensor(slopes, device=device).view(-1, 1, 1)
                               * (at.view(1, n) - at.view(n, 1)))
            return bias
        return self.table(n, make)

    def forward(self, x):
        b, n, width = x.shape
        q, k, v = (part.view(b, n, self.n_head, self.head_dim).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=2))
        if self.method == "rope":
            q, k = self.rotate(q, n), self.rotate(k, n)
        if self.method in ("alibi", "cable"):
            scale = 1.0 if self.method == "cable" else 1.0 / math.sqrt(self.head_dim)
            scores = (q * scale) @ k.transpose(2, 3) + self.static_bias(n, x.device)
            if self.method == "cable":
                # The bias is b_i - b_j with b_t = -sum of softplus up to t; b_i cancels.
                steps = F.softplus(self.gate(x)).transpose(1, 2)
                scores = scores + steps.cumsum(2).unsqueeze(2)
            y = scores.softmax(-1).to(v.dtype) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, n, width))


class Block(torch.nn.Module):
    def __init__(self, method, n_head, width):
        super().__init__()
        self.norm_1, self.norm_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attention = Attention(method, n_head, width)
        self.up = torch.nn.Linear(width, 4 * width)
        self.down = torch.nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Model(torch.nn.Module):
    def __init__(self, method, vocabulary, n_layer, n_head, width):
        super().__init__()
        self.method = method
        self.embedding = torch.nn.Embedding(vocabulary, width)
        self.blocks = torch.nn.ModuleList(Block(method, n_head, width) for _ in range(n_layer))
        self.norm = torch.nn.LayerNorm(width)
        self.waves = {}
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                torch.nn.init.normal_(parameter, std=MODEL["init_std"])
            elif name.endswith("bias"):
                torch.nn.init.zeros_(parameter)

    def added(self, x):
        n, width = x.shape[1:]
        if n not in self.waves:
            at = torch.arange(n, dtype=torch.float64).unsqueeze(1)
            w = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
            self.waves[n] = torch.stack([(at * w).sin(), (at * w).cos()], 2).flatten(1).to(x)
        return self.waves[n]

    def forward(self, ids):
        x = self.embedding(ids)
        if self.method == "sinusoidal":
            x = x + self.added(x)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight)


def plain_loss(model, ids, reduction):
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction=reduction)


def loss_of(model, ids, args, reduction="mean"):
    ids = ids.to(args.device)
    with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
        return args.loss(model, ids, reduction)


def optimizer_of(model):
    asked = TRAIN["optimizer"]
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": asked["weight_decay"]},
         {"params": vectors, "weight_decay": 0.0}],
        lr=asked["lr"], betas=tuple(asked["betas"]), eps=asked["eps"], fused=True)


def train(model, tokens, args):
    optimizer = optimizer_of(model)
    n_rows = args.batch_tokens // args.length
    columns = torch.arange(args.length + 1)
    for step in range(args.warm + args.steps):
        if step == args.warm:
            wall, cpu = time.perf_counter(), time.process_time()
        starts = torch.randint(len(tokens) - args.length - 1, (n_rows, 1))
        loss = loss_of(model, tokens[starts + columns], args)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), TRAIN["optimizer"]["grad_clip"])
        optimizer.step()
        loss.item()  # each step's loss is written down
    return {"tokens": args.steps * args.batch_tokens, "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu, "loss": loss.item()}


@torch.no_grad()
def evaluate(model, tokens, args):
    n = args.length
    n_windows = (len(tokens) - 1) // n
    starts = n * torch.arange(n_windows).unsqueeze(1) + torch.arange(n + 1)
    per_call = max(1, EVALUATION_TOKENS // n)
    loss_of(model, tokens[starts[:per_call]], args).item()  # warm-up
    wall, cpu, nll = time.perf_counter(), time.process_time(), 0.0
    for begin in range(0, n_windows, per_call):
        nll += loss_of(model, tokens[starts[begin:begin + per_call]], args, reduction="sum").item()
    return {"tokens": n_windows * n, "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu, "loss": nll / (n_windows * n)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "evaluate"])
    parser.add_argument("method", choices=["none", "rope", "sinusoidal", "alibi", "cable"])
    parser.add_argument("--tokens", required=True, type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warm", type=int, default=10)
    parser.add_argument("--length", type=int, default=TRAIN["train_length"])
    parser.add_argument("--batch-tokens", type=int, default=TRAIN["batch_tokens"])
    parser.add_argument("--shape", default=f"{MODEL['n_layer']},{MODEL['n_head']},{MODEL['d_model']}")
    parser.add_argument("--vocabulary", type=int, default=MODEL["vocab_size"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    tokens = torch.frombuffer(bytearray(args.tokens.read_bytes()), dtype=torch.uint8).long()
    model = Model(args.method, args.vocabulary, *map(int, args.shape.split(","))).to(args.device)
    args.loss = plain_loss
    if args.compile:
        with torch.no_grad():  # makes the tables, which the compiled code then only reads
            loss_of(model, tokens[:args.length + 1].unsqueeze(0), args)
        args.loss = torch.compile(plain_loss, fullgraph=True)
    found = {"train": train, "evaluate": evaluate}[args.what](model, tokens, args)
    found["peak_bytes"] = torch.cuda.max_memory_allocated() if args.device == "cuda" else None
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
