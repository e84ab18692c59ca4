"""A GPT-2-style decoder in plain PyTorch, written from the papers and from GPT-2's published layout,
without a look at our C++: what longrun-trainer's logits and gradients are compared with.

Developer-only; the tests need only the small files it wrote. It needs torch, numpy and safetensors:

    python3 tools/oracle/gpt2_oracle.py tests/golden/net

writes for each case CASE/config.json and CASE/expected.safetensors with `tokens`, `logits`, and the
gradient of the mean next-token loss for a few parameters under "grad.NAME", all computed in
float64. The weights are not stored: parameter NAME with flat row-major index n holds

    w[n] = offset + (((n + s)^2 * 31 + n * s) mod 65537 - 32768) / 131072,   s = sum of the name's bytes

(offset 1 for LayerNorm weights, else 0): multiples of 2^-17 below 0.25, exact in float32. tests/model/net/golden.h has the same formula.
"""
import json
import math
import os
import sys

import numpy
import torch
from safetensors.torch import save_file

BASE = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12,
        "vocab_size": 11, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}
CASES = {
    "learned": {},
    "none": {"position": {"method": "none"}},
    "sinusoidal": {"position": {"method": "sinusoidal"}},
    "rope": {"position": {"method": "rope"}},
    "rope_interleaved": {"position": {"method": "rope", "layout": "interleaved"}},
    "alibi": {"position": {"method": "alibi"}},
    "cable": {"position": {"method": "cable"}},
    "cable_scaled": {"position": {"method": "cable", "variant": "scaled"}},
    "cable_bidirectional": {"position": {"method": "cable", "variant": "bidirectional"},
                            "causal": False},
    "gelu_inverse_layer": {"activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True,
                           "n_inner": 24},
    "relu_unscaled": {"activation_function": "relu", "scale_attn_weights": False,
                      "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False},
    "silu": {"activation_function": "silu"},
    "tanh": {"activation_function": "tanh"},
    "quick_gelu": {"activation_function": "quick_gelu"},
}
GRADIENTS = ["transformer.wte.weight", "transformer.h.0.attn.c_attn.bias",
             "transformer.h.1.mlp.c_proj.bias", "transformer.ln_f.weight",
             "transformer.h.0.attn.position.weight", "transformer.h.1.attn.position.bias"]


def shapes(c):
    n, f, h = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"], c["n_head"]
    method = c.get("position", {"method": "learned"})["method"]
    out = {"transformer.wte.weight": (c["vocab_size"], n)}
    if method == "learned":
        out["transformer.wpe.weight"] = (c["n_positions"], n)
    for l in range(c["n_layer"]):
        p = f"transformer.h.{l}."
        out |= {p + "ln_1.weight": (n,), p + "ln_1.bias": (n,), p + "attn.c_attn.weight": (n, 3 * n),
                p + "attn.c_attn.bias": (3 * n,), p + "attn.c_proj.weight": (n, n),
                p + "attn.c_proj.bias": (n,), p + "ln_2.weight": (n,), p + "ln_2.bias": (n,),
                p + "mlp.c_fc.weight": (n, f), p + "mlp.c_fc.bias": (f,),
                p + "mlp.c_proj.weight": (f, n), p + "mlp.c_proj.bias": (n,)}
        if method == "cable":
            out |= {p + "attn.position.weight": (h, n), p + "attn.position.bias": (h,)}
    out |= {"transformer.ln_f.weight": (n,), "transformer.ln_f.bias": (n,)}
    if not c.get("tie_word_embeddings", True):
        out["lm_head.weight"] = (c["vocab_size"], n)
    return out


def weight(name, shape):
    n, s = numpy.arange(math.prod(shape)), sum(name.encode())
    offset = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
    values = offset + (((n + s) ** 2 * 31 + n * s) % 65537 - 32768) / 131072
    return torch.tensor(values).reshape(shape)


def activation(name, x):
    if name == "gelu_new":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if name == "gelu":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    if name in ("silu", "quick_gelu"):
        return x / (1 + torch.exp(-(1.702 if name == "quick_gelu" else 1.0) * x))
    if name == "tanh":
        return torch.tanh(x)
    return torch.where(x > 0, x, torch.zeros_like(x))


def norm(x, w, b, eps):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + eps) * w + b


def rotate(x, interleaved):  # (H, T, d)
    d = x.shape[-1]
    angle = torch.arange(x.shape[1]).double()[:, None] * 10000.0 ** (-torch.arange(0, d, 2).double() / d)
    z = (torch.complex(x[..., 0::2], x[..., 1::2]) if interleaved
         else torch.complex(x[..., : d // 2], x[..., d // 2:]))
    z = z * torch.polar(torch.ones_like(angle), angle)
    if interleaved:
        return torch.stack([z.real, z.imag], -1).flatten(-2)
    return torch.cat([z.real, z.imag], -1)


def attention(c, w, layer, x):
    p = f"transformer.h.{layer}.attn."
    t, n = x.shape
    heads, d = c["n_head"], n // c["n_head"]
    position = c.get("position", {"method": "learned"})
    qkv = x @ w[p + "c_attn.weight"] + w[p + "c_attn.bias"]
    q, k, v = (part.reshape(t, heads, d).transpose(0, 1) for part in qkv.split(n, 1))
    scale = 1 / math.sqrt(d)
    bias = torch.zeros(heads, t, t, dtype=torch.float64)
    i, j = torch.arange(t)[:, None], torch.arange(t)[None, :]
    if position["method"] == "rope":
        interleaved = position.get("layout") == "interleaved"
        q, k = rotate(q, interleaved), rotate(k, interleaved)
    if position["method"] == "alibi":
        slopes = [2.0 ** (-8 * (h + 1) / heads) for h in range(heads)]
        bias = torch.stack([m * (j - i) for m in slopes]).double()
    if position["method"] == "cable":
        if position.get("variant", "official") == "official":
            scale = 1.0
        gate = x @ w[p + "position.weight"].T + w[p + "position.bias"]
        b = -torch.cumsum(torch.log1p(torch.exp(gate)), 0).T
        bias = b[:, :, None] - b[:, None, :]
        if position.get("variant") == "bidirectional":
            bias = -bias.abs()
    if not c.get("scale_attn_weights", True):
        scale = 1.0
    if c.get("scale_attn_by_inverse_layer_idx", False):
        scale /= layer + 1
    s = scale * q @ k.transpose(1, 2) + bias
    if c.get("causal", True):
        s = s.masked_fill(j > i, float("-inf"))
    o = torch.softmax(s, -1) @ v
    return o.transpose(0, 1).reshape(t, n) @ w[p + "c_proj.weight"] + w[p + "c_proj.bias"]


def logits(c, w, tokens):
    x = w["transformer.wte.weight"][tokens]
    t, n = x.shape
    method = c.get("position", {"method": "learned"})["method"]
    if method == "learned":
        x = x + w["transformer.wpe.weight"][:t]
    if method == "sinusoidal":
        angle = torch.arange(t).double()[:, None] * 10000.0 ** (-torch.arange(0, n, 2).double() / n)
        x = x + torch.stack([torch.sin(angle), torch.cos(angle)], -1).flatten(-2)
    eps = c["layer_norm_epsilon"]
    for l in range(c["n_layer"]):
        p = f"transformer.h.{l}."
        x = x + attention(c, w, l, norm(x, w[p + "ln_1.weight"], w[p + "ln_1.bias"], eps))
        h = norm(x, w[p + "ln_2.weight"], w[p + "ln_2.bias"], eps)
        h = activation(c["activation_function"], h @ w[p + "mlp.c_fc.weight"] + w[p + "mlp.c_fc.bias"])
        x = x + h @ w[p + "mlp.c_proj.weight"] + w[p + "mlp.c_proj.bias"]
    x = norm(x, w["transformer.ln_f.weight"], w["transformer.ln_f.bias"], eps)
    head = w["transformer.wte.weight" if c.get("tie_word_embeddings", True) else "lm_head.weight"]
    return x @ head.T


def main(folder):
    tokens = torch.tensor([[(3 * t * t + 5 * b + t) % 11 for t in range(9)] for b in range(2)])
    for case, changes in CASES.items():
        config = BASE | changes
        w = {name: weight(name, shape).requires_grad_() for name, shape in shapes(config).items()}
        out = torch.stack([logits(config, w, row) for row in tokens])
        loss = torch.nn.functional.cross_entropy(out[:, :-1].reshape(-1, out.shape[-1]),
                                                 tokens[:, 1:].reshape(-1))
        loss.backward()
        tensors = {"tokens": tokens, "logits": out.detach()}
        tensors |= {"grad." + name: w[name].grad for name in GRADIENTS if name in w}
        os.makedirs(os.path.join(folder, case), exist_ok=True)
        with open(os.path.join(folder, case, "config.json"), "w") as f:
            json.dump(config, f, indent=1, sort_keys=True)
            f.write("\n")
        save_file({k: v.contiguous() for k, v in tensors.items()},
                  os.path.join(folder, case, "expected.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
