"""The block of jaketae/alibi in plain PyTorch, written from its description, in float64: what
longrun-trainer's architecture `jaketae` is compared with.

Developer-only; the tests need only the small files it wrote. It needs torch, numpy and safetensors:

    python3 tools/oracle/jaketae_oracle.py tests/golden/bodies [CLONE]

writes for each case CASE/config.json and CASE/expected.safetensors with `tokens`, `logits`, and the gradient of
the mean next-token loss for a few parameters under "grad.NAME". The weights are those of
gpt2_oracle.weight(), by name. With CLONE, a clone of github.com/jaketae/alibi, the same weights go through
the published module as well (vectors in, vectors out, dropout off), and the largest difference is printed;
it was 2e-15 with 021acae.
"""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file

from gpt2_oracle import weight

BASE = {"model_type": "jaketae", "num_layers": 2, "d_model": 24, "num_heads": 3, "max_len": 32,
        "dropout": 0.1, "expansion_factor": 1, "vocab_size": 29}
CASES = {"jaketae": BASE | {"causal": True},
         "jaketae_encoder": BASE | {"causal": False},
         "jaketae_wide": BASE | {"causal": False, "expansion_factor": 3, "num_heads": 4}}
GRADIENTS = ["embedding.weight", "layers.0.attn.kqv.weight", "layers.1.ffn.fc1.bias",
             "layers.0.attn_norm.weight", "layers.1.ffn_norm.bias"]


def shapes(c):
    n, f = c["d_model"], c["d_model"] * c["expansion_factor"]
    out = {"embedding.weight": (c["vocab_size"], n)}
    for l in range(c["num_layers"]):
        p = f"layers.{l}."
        out |= {p + "attn_norm.weight": (n,), p + "attn_norm.bias": (n,), p + "attn.kqv.weight": (3 * n, n),
                p + "ffn_norm.weight": (n,), p + "ffn_norm.bias": (n,),
                p + "ffn.fc1.weight": (f, n), p + "ffn.fc1.bias": (f,),
                p + "ffn.fc2.weight": (n, f), p + "ffn.fc2.bias": (n,)}
    return out


def weights(c):
    return {name: weight(name, shape) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
            for name, shape in shapes(c).items()}


def norm(x, w, name):
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)
    return unit * w[name + ".weight"] + w[name + ".bias"]


def attention(c, x, w, name):
    """x (T, C). The divisor is the root of d_model, not of a head's width."""
    t, n, h = len(x), c["d_model"], c["num_heads"]
    k, q, v = ((x @ w[name + ".kqv.weight"].T)[:, i * n:(i + 1) * n].reshape(t, h, n // h) for i in range(3))
    i, j = torch.arange(t).double()[:, None], torch.arange(t).double()[None, :]
    out = torch.empty(t, h, n // h, dtype=torch.float64)
    for head in range(h):
        slope = 2.0 ** (-8.0 * (head + 1) / h)
        scores = q[:, head] @ k[:, head].T / math.sqrt(n) + slope * (j - i)
        if c["causal"]:
            scores = scores.masked_fill(j > i, float("-inf"))
        out[:, head] = torch.softmax(scores, 1) @ v[:, head]
    return out.reshape(t, n)


def blocks(c, x, w):
    for l in range(c["num_layers"]):
        p = f"layers.{l}."
        x = x + attention(c, norm(x, w, p + "attn_norm"), w, p + "attn")
        up = norm(x, w, p + "ffn_norm") @ w[p + "ffn.fc1.weight"].T + w[p + "ffn.fc1.bias"]
        gelu = 0.5 * up * (1 + torch.erf(up / math.sqrt(2)))
        x = x + gelu @ w[p + "ffn.fc2.weight"].T + w[p + "ffn.fc2.bias"]
    return x


def compare(c, w, tokens, clone):
    sys.path.insert(0, clone)
    from alibi.config import ALiBiConfig
    from alibi.model import ALiBiTransformer

    fields = ("num_layers", "d_model", "num_heads", "max_len", "dropout", "causal", "expansion_factor")
    module = ALiBiTransformer(ALiBiConfig(**{name: c[name] for name in fields})).double().eval()
    # Its slopes are rounded to float32 when they are made.
    h = c["num_heads"]
    slopes = torch.tensor([2.0 ** (-8.0 * (i + 1) / h) for i in range(h)], dtype=torch.float64)
    for layer in module.layers:
        layer.attn.m = slopes.reshape(h, 1, 1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(w[name])
        x = w["embedding.weight"][tokens]
        ours = torch.stack([blocks(c, row, w) for row in x])
        print(f"{module(x).sub(ours).abs().max().item():.1e} from the published module, "
              f"{sum(p.numel() for p in module.parameters())} parameters")


def main(folder, clone=None):
    tokens = torch.tensor([[(3 * t * t + 5 * b + t) % 29 for t in range(17)] for b in range(2)])
    for case, c in CASES.items():
        w = {name: value.requires_grad_() for name, value in weights(c).items()}
        logits = torch.stack([blocks(c, w["embedding.weight"][row], w) @ w["embedding.weight"].T for row in tokens])
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 29), tokens[:, 1:].reshape(-1))
        loss.backward()
        tensors = {"tokens": tokens, "logits": logits.detach()}
        tensors |= {"grad." + name: w[name].grad for name in GRADIENTS}
        path = os.path.join(folder, case)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
            json.dump(c, file, indent=1, sort_keys=True)
            file.write("\n")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()},
                  os.path.join(path, "expected.safetensors"))
        if clone:
            compare(c, {name: value.detach() for name, value in w.items()}, tokens, clone)


if __name__ == "__main__":
    main(*sys.argv[1:])
