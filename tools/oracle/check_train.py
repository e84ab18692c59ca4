"""Training and evaluation against a plain PyTorch loop: same initial weights, same samples, AdamW,
warm-up, cosine, clipping, accumulation; perplexity recomputed from logits; and determinism.

What is written again here, from its description: Philox4x32-10 and its normals, the three orders of
samples, the token shard's layout, the learning rate, the plan of windows, the standard error."""
import json
import math
import os
import struct

import numpy
import torch
from safetensors.torch import load_file

from check_forward import ask
from originals import Original

MASK = 2**64 - 1
LENGTH, BATCH, STEPS, WARMUP = 32, 8, 50, 10
MODEL = {"architecture": "gpt2", "n_layer": 3, "n_head": 6, "d_model": 48, "d_ff": 192,
         "vocab_size": 320, "activation": "gelu_new", "layer_norm_epsilon": 1e-5,
         "tie_embeddings": True, "causal": True, "init_std": 0.02}
OPTIMIZER = {"name": "adamw", "lr": 3e-3, "min_lr": 3e-4, "betas": [0.9, 0.95], "eps": 1e-8,
             "weight_decay": 0.1, "grad_clip": 1.0}
METHODS = ("none", "learned", "sinusoidal", "rope", "alibi", "cable", "t5", "kerple", "fire", "xpos",
           "cope", "fox")


def sm64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def stream_key(seed, epoch, stream):
    return sm64(sm64(sm64(seed) ^ epoch) ^ stream)


def permute(i, n, key):
    if n <= 1:
        return 0
    half = max(1, math.ceil((n - 1).bit_length() / 2))
    mask = 2**half - 1
    while True:
        left, right = i >> half, i & mask
        for k in range(6):
            left, right = right, left ^ (sm64(sm64(key ^ k) ^ right) & mask)
        i = left << half | right
        if i < n:
            return i


def start(order, seed, g, n_tokens):
    n = (n_tokens - 1) // LENGTH
    if order == "stream":
        return g % n * LENGTH
    if order == "shuffled":
        return permute(g % n, n, stream_key(seed, g // n, 0)) * LENGTH
    return sm64(stream_key(seed, 0, 2) ^ g) % (n_tokens - LENGTH)


def philox(counter, key):
    c, k = [x.astype(numpy.uint64) for x in counter], list(key)
    low = numpy.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = c[0] * numpy.uint64(0xD2511F53), c[2] * numpy.uint64(0xCD9E8D57)
        shift = numpy.uint64(32)
        c = [(b >> shift) ^ c[1] ^ numpy.uint64(k[0]), b & low,
             (a >> shift) ^ c[3] ^ numpy.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def uniforms(seed, name, n):
    """Two of each counter."""
    stream = 0xCBF29CE484222325
    for byte in name.encode():
        stream = ((stream ^ byte) * 0x100000001B3) & MASK
    block = numpy.arange((n + 1) // 2, dtype=numpy.uint64)
    constant = numpy.full_like(block, 1)
    w = philox([block, block >> numpy.uint64(32), constant * numpy.uint64(stream & 0xFFFFFFFF),
                constant * numpy.uint64(stream >> 32)], [seed & 0xFFFFFFFF, seed >> 32])

    def uniform(high, low):
        bits = ((high << numpy.uint64(32)) | low) >> numpy.uint64(11)
        return (bits.astype(numpy.float64) + 0.5) * 2.0**-53
    return numpy.stack([uniform(w[0], w[1]), uniform(w[2], w[3])], 1).reshape(-1)[:n]


def normals(seed, name, n):
    u = uniforms(seed, name, n + n % 2).reshape(-1, 2)
    radius, angle = numpy.sqrt(-2 * numpy.log(u[:, 0])), 2 * math.pi * u[:, 1]
    return numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], 1).reshape(-1)[:n]


# What does not start as N(0, 0.02^2): a number, or a range. KERPLE's code, FIRE's listing with
# torch's linears, CoPE's listing.
STARTS = {"kerple": {"p": (0, 2), "a": (0, 1)},
          "fire": {"w1": (-1, 1), "b1": (-1, 1), "w2": (-32**-0.5, 32**-0.5),
                   "b2": (-32**-0.5, 32**-0.5), "c": 0.1, "lambda": 1.0},
          "cope": {"table": 0.0}}


def initial(parameters, seed, method):
    """GPT-2's: N(0, 0.02^2), residual projections / sqrt(2 layers), biases 0, LayerNorm 1."""
    tensors = {}
    for name, parameter in parameters.items():
        begin = STARTS.get(method, {}).get(name.split(".")[-1]) if ".position." in name else None
        if isinstance(begin, tuple):
            low, high = begin
            draw = low + (high - low) * uniforms(seed, name, parameter.numel())
            value = torch.tensor(draw.astype(numpy.float32)).reshape(parameter.shape)
        elif begin is not None:
            value = torch.full(parameter.shape, begin)
        elif ".ln_" in name:
            value = torch.full(parameter.shape, float(name.endswith("weight")))
        elif name.endswith("bias"):
            value = torch.zeros(parameter.shape)
        else:
            std = MODEL["init_std"]
            if name.endswith("c_proj.weight"):
                std /= math.sqrt(2 * MODEL["n_layer"])
            draw = normals(seed, name, parameter.numel()) * std
            value = torch.tensor(draw.astype(numpy.float32)).reshape(parameter.shape)
        tensors[name] = value
    return tensors


def read_shard(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"LRTKSHD1"
    width, n_tokens, n_docs = data[16], *struct.unpack_from("<QQ", data, 24)
    at, doc_at = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<Q", data, 56)[0]
    tokens = numpy.frombuffer(data, {1: "u1", 2: "<u2", 4: "<u4"}[width], n_tokens, at)
    starts = numpy.frombuffer(data, "<u8", n_docs, doc_at)
    return torch.tensor(tokens.astype(numpy.int64)), [int(s) for s in starts]


def make_dataset(trainer, folder):
    """Sentences that a small model can learn; three training texts, twelve for validation."""
    words = ("the sea was calm and a ship came in from far away with sails of white "
             "linen über bread wine").split()
    state, files = 1, []
    for i in range(15):
        text = []
        for _ in range(4000 if i < 3 else 130 + 20 * i):
            state = sm64(state)
            text.append(words[(len(text) * 3 + state % 4) % len(words)])
        files.append(os.path.join(folder, f"text-{i}.txt"))
        with open(files[-1], "w", encoding="utf-8") as file:
            file.write(" ".join(text))
    output = os.path.join(folder, "dataset")
    done = trainer.run("data", "import", "--output", output, "--tokenizer", "bytes",
                       "--train", *files[:3], "--validation", *files[3:])
    assert done.returncode == 0, done.stderr
    expected = []
    for path in files[3:]:
        with open(path, "rb") as file:
            expected += list(file.read()) + [256]
    split = {name: read_shard(os.path.join(output, f"{name}-00000.lrtk"))
             for name in ("train", "validation")}
    assert split["validation"][0].tolist() == expected
    return output, split


def hf_config(position):
    return {"model_type": "gpt2", "n_embd": MODEL["d_model"], "n_layer": MODEL["n_layer"],
            "n_head": MODEL["n_head"], "vocab_size": MODEL["vocab_size"],
            "n_positions": LENGTH, "position": position}


def learning_rate(t):
    lr, low = OPTIMIZER["lr"], OPTIMIZER["min_lr"]
    if t <= WARMUP:
        return lr * t / WARMUP
    return low + (lr - low) * (1 + math.cos(math.pi * (t - WARMUP) / (STEPS - WARMUP))) / 2


def plain_loop(position, order, seed, tokens, micro, dtype, n_steps):
    """Loss, gradient norm and learning rate of each step."""
    model = Original(hf_config(position), dtype=dtype, longest=LENGTH)
    parameters = model.parameters()
    model.load(initial(parameters, seed, position["method"]))
    groups = [{"params": [p for p in parameters.values() if p.dim() >= 2],
               "weight_decay": OPTIMIZER["weight_decay"]},
              {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=tuple(OPTIMIZER["betas"]), eps=OPTIMIZER["eps"])
    series = []
    for t in range(1, n_steps + 1):
        starts = [start(order, seed, (t - 1) * BATCH + b, len(tokens)) for b in range(BATCH)]
        rows = torch.stack([tokens[s:s + LENGTH + 1] for s in starts])
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in rows.split(micro):
            loss = model.loss(part) * (len(part) / BATCH)
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), OPTIMIZER["grad_clip"]).item()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(t)
        optimizer.step()
        series.append((total, norm, learning_rate(t)))
    return numpy.array(series), {n: p.detach() for n, p in parameters.items()}


def train(trainer, folder, dataset, position, order="random", seed=7, micro=4, precision="fp32",
          threads=1):
    os.makedirs(folder, exist_ok=True)
    run = {"model": MODEL, "position": position, "seed": seed, "train": {
        "train_length": LENGTH, "tokens": STEPS * BATCH * LENGTH, "batch_tokens": BATCH * LENGTH,
        "precision": precision, "order": order, "optimizer": OPTIMIZER,
        "schedule": {"name": "cosine", "warmup_tokens": WARMUP * BATCH * LENGTH},
        "validate": {"every": 0, "tokens": 0}}}
    with open(os.path.join(folder, "run.json"), "w") as file:
        json.dump(run, file)
    done = trainer.run("train", "--run", os.path.join(folder, "run.json"), "--dataset", dataset,
                       "--output", os.path.join(folder, "out"), "--micro-batch", micro,
                       "--threads", threads)
    assert done.returncode == 0, done.stderr
    rows = [r["body"] for r in journal(os.path.join(folder, "out")) if r["kind"] == "series"]
    series = numpy.array([[r["loss"], r["grad_norm"], r["lr"]] for r in rows if "loss" in r])
    return series, os.path.join(folder, "out", "checkpoints", f"step-{STEPS:09}")


def journal(folder):
    with open(os.path.join(folder, "journal.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def weights(checkpoint):
    with open(os.path.join(checkpoint, "model.safetensors"), "rb") as file:
        return file.read()


def expected_row(logits_of, split, length):
    """nonoverlap: window k feeds [kL, kL + L), scores [kL + 1, kL + L + 1)."""
    tokens, starts = split
    n = (len(tokens) - 1) // length
    fed, targets = tokens[:n * length].view(n, length), tokens[1:n * length + 1]
    log_p = torch.log_softmax(logits_of(fed).double(), -1).view(n * length, -1)
    nll = -log_p.gather(1, targets[:, None]).squeeze(1).numpy()
    at = numpy.arange(1, n * length + 1)
    cluster = numpy.searchsorted(starts, at, side="right")
    ids = numpy.unique(cluster)
    sums = numpy.array([nll[cluster == i].sum() for i in ids])
    counts = numpy.array([(cluster == i).sum() for i in ids])
    mean, m = nll.sum() / len(nll), len(ids)
    se = math.sqrt(m / (m - 1) * ((sums - mean * counts) ** 2).sum()) / len(nll) if m > 1 else None
    return {"n": len(nll), "nll_sum": nll.sum(), "value": mean, "se": se,
            "bytes": int((targets < 256).sum())}


def check_evaluation(trainer, report, folder, dataset, split, method, checkpoint):
    lengths = [LENGTH] if method == "learned" else [16, LENGTH, 4 * LENGTH, 16 * LENGTH]
    output = os.path.join(folder, "scores")
    done = trainer.run("evaluate", "--run", os.path.join(folder, "run.json"), "--dataset", dataset,
                       "--output", output, "--checkpoint", checkpoint, "--lengths",
                       ",".join(map(str, lengths)))
    assert done.returncode == 0, done.stderr
    scratch = os.path.join(folder, "logits")
    os.mkdir(scratch)
    for name in ("config.json", "model.safetensors"):
        os.symlink(os.path.join(checkpoint, name), os.path.join(scratch, name))
    rows = [r["body"] for r in journal(output) if r["kind"] == "result"]
    assert [r["context_length"] for r in rows] == lengths
    for row in rows:
        expected = expected_row(lambda fed: ask(trainer, "forward", scratch, fed)["logits"], split,
                                row["context_length"])
        assert row["extra"]["clusters"] == "document", "the texts are documents of about equal length"
        worst = max(abs(row[key] / expected[key] - 1) for key in ("nll_sum", "value", "se"))
        exact = row["n"] == expected["n"] and row["bytes"] == expected["bytes"]
        report.difference(f"{method}: perplexity at {row['context_length']} (relative)",
                          worst if exact else float("inf"), 1e-6)


def check(trainer, report, scratch):
    dataset, split = make_dataset(trainer, scratch)
    tokens = split["train"][0]
    order = dict(zip(METHODS, ("random", "shuffled", "stream") * 4))
    for method in METHODS:
        if not report.wants(method):
            continue
        folder, position = os.path.join(scratch, method), {"method": method}
        ours, checkpoint = train(trainer, folder, dataset, position, order[method])
        theirs, final = plain_loop(position, order[method], 7, tokens, 2, torch.float32, STEPS)
        exact, _ = plain_loop(position, order[method], 7, tokens, BATCH, torch.float64, 1)
        off = numpy.abs(ours - theirs)
        name = f"{method}, {order[method]}"
        report.difference(f"{name}: loss of step 1, against float64", abs(ours[0, 0] - exact[0, 0]),
                          1e-6)
        report.difference(f"{name}: gradient norm of step 1, against float64",
                          abs(ours[0, 1] - exact[0, 1]), 1e-5)
        report.difference(f"{name}: losses of 50 steps", off[:, 0].max(), 1e-4)
        report.difference(f"{name}: gradient norms (relative)", (off[:, 1] / theirs[:, 1]).max(),
                          1e-2)
        report.difference(f"{name}: learning rates", off[:, 2].max(), 1e-12)
        stored = load_file(os.path.join(checkpoint, "model.safetensors"))
        report.line(f"{name}: tensors of the checkpoint", stored.keys() == final.keys(),
                    f"{len(stored)} names; loss from {ours[0, 0]:.3f} to {ours[-1, 0]:.3f}")
        check_evaluation(trainer, report, folder, dataset, split["validation"], method, checkpoint)
    if report.wants("cable"):
        check_determinism(trainer, report, scratch, dataset)


def check_determinism(trainer, report, scratch, dataset):
    def again(name, **options):
        return train(trainer, os.path.join(scratch, name), dataset, {"method": "cable"}, **options)

    series, checkpoint = again("first")
    _, other = again("second")
    report.line("cable: the same task twice", weights(checkpoint) == weights(other),
                "the weights' bytes are equal")
    os.environ["OMP_NUM_THREADS"] = "2"
    _, two = again("two threads", threads=2)
    _, two_again = again("two threads again", threads=2)
    report.line("cable: the same task twice on two threads", weights(two) == weights(two_again),
                "the weights' bytes are equal")
    for micro in (1, 2, 8):
        given, _ = again(f"micro {micro}", micro=micro)
        off = numpy.abs(given[:20, 0] / series[:20, 0] - 1).max()
        report.difference(f"cable: micro-batch {micro}, losses of 20 steps (relative)", off, 1e-6)
    brain, _ = again("bf16", precision="bf16")
    off = numpy.abs(brain[:, 0] / series[:, 0] - 1).max()
    report.difference("cable: bf16 autocast, losses of 50 steps (relative)", off, 2e-2)
