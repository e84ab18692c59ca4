# Copyright 2026 the longrun authors. Licensed under the Apache License, Version 2.0.
"""A decoder with GPT-2's body and the position methods of longrun, in plain PyTorch.

`longrun export` writes this file beside a checkpoint whose position method transformers does not have:

    AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)

s[i][j] = scale <rotate(q_i), rotate(k_j)> + bias[i][j]; config.position says which method, with all of
its parameters. There is no cache of keys and values: generate() reads the whole text for each token.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

ACTIVATIONS = {"gelu_new": lambda x: F.gelu(x, approximate="tanh"), "gelu": F.gelu, "relu": F.relu,
               "silu": F.silu, "tanh": torch.tanh, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}


class LongrunConfig(PretrainedConfig):
    model_type = "longrun"
    attribute_map = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer",
                     "num_attention_heads": "n_head", "max_position_embeddings": "n_positions"}

    def __init__(self, vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12, n_inner=None,
                 activation_function="gelu_new", layer_norm_epsilon=1e-5, scale_attn_weights=True,
                 scale_attn_by_inverse_layer_idx=False, causal=True, position=None, **kwargs):
        self.vocab_size, self.n_positions, self.n_embd = vocab_size, n_positions, n_embd
        self.n_layer, self.n_head, self.n_inner = n_layer, n_head, n_inner
        self.activation_function = activation_function
        self.layer_norm_epsilon = layer_norm_epsilon
        self.scale_attn_weights = scale_attn_weights
        self.scale_attn_by_inverse_layer_idx = scale_attn_by_inverse_layer_idx
        self.causal, self.position = causal, position or {"method": "none"}
        super().__init__(**kwargs)


class Conv1D(nn.Module):  # weights as (inputs, outputs), as GPT-2 keeps them
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(n_in, n_out)), nn.Parameter(torch.zeros(n_out))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x):
        return x @ self.weight + self.bias


def alibi_slopes(n_head, rule):
    geometric = lambda n: [2.0 ** (-8.0 * (h + 1) / n) for h in range(n)]
    below = 1 << (n_head.bit_length() - 1)
    if rule == "geometric" or below == n_head:
        return geometric(n_head)
    return geometric(below) + geometric(2 * below)[0::2][:n_head - below]


def learned_shapes(config):
    """What a method learns: name to shape, and whether all layers share it."""
    p, h, d = config.position, config.n_head, config.n_embd // config.n_head
    method = p["method"]
    if method in ("cable", "fox"):
        return {"weight": (h, config.n_embd), "bias": (h,)}, False
    if method == "kerple":
        return {"p": (h,), "a": (h,)}, p["share_layers"]
    if method == "t5":
        return {"table": (p["buckets"], h)}, p["share_layers"]
    if method == "fire":
        w = p["width"]
        return {"w1": (w, 1), "b1": (w,), "w2": (h, w), "b2": (h,), "c": (1,), "lambda": (1,)}, p["share_layers"]
    if method == "cope":
        return {"table": (d, p["max_positions"])}, False
    return {}, False


class Learned(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


class Position:
    """The terms of a method. Positions `at` are (B, T); a query stands at i, a key at j."""

    def __init__(self, config):
        self.config, self.p, self.method = config, config.position, config.position["method"]
        self.d = config.n_embd // config.n_head
        width = self.d
        if self.method == "alibi" and self.p["variant"] == "jaketae":
            width = config.n_embd
        if self.method == "cable":
            width = {"official": 1, "augmented": config.n_embd}.get(self.p["variant"], self.d)
        self.scale = width ** -0.5
        if self.method == "t5" and self.p["scale"] != 0.0:
            self.scale = self.p["scale"]

    def add_to_input(self, x, at, wpe):
        if self.method == "learned":
            n = wpe.num_embeddings
            if self.p["beyond"] == "refuse" and int(at.max()) >= n:
                raise ValueError(f"a text of {int(at.max()) + 1} tokens is longer than the {n} learned positions")
            return x + wpe(at % n if self.p["beyond"] == "wrap" else at.clamp(max=n - 1))
        if self.method != "sinusoidal":
            return x
        c, t = self.config.n_embd, at.double()[..., None]
        table = torch.zeros(*at.shape, c, dtype=torch.double, device=x.device)
        if self.p["layout"] == "vaswani":
            angle = t * 10000.0 ** (-torch.arange(0, c, 2, dtype=torch.double, device=x.device) / c)
            table[..., 0::2], table[..., 1::2] = angle.sin(), angle.cos()
        else:
            half = c // 2
            step = math.log(10000.0) / (half - 1)
            angle = t * torch.exp(-torch.arange(half, dtype=torch.double, device=x.device) * step)
            table[..., :half], table[..., half:2 * half] = angle.sin(), angle.cos()
        return x * self.p["multiplier"] + table.to(x.dtype)

    def rotate(self, q, k, at):
        if self.method not in ("rope", "xpos"):
            return q, k
        xpos = self.method == "xpos"
        r = self.d if xpos else int(self.d * self.p["partial"])
        base = 10000.0 if xpos else self.p["base"]
        pair = torch.arange(0, r, 2, dtype=torch.double, device=q.device)
        angle = at.double()[:, None, :, None] * base ** (-pair / r)  # (B, 1, T, r/2)
        interleaved = xpos or self.p["layout"] == "interleaved"
        spread = (lambda x: x.repeat_interleave(2, -1)) if interleaved else (lambda x: torch.cat([x, x], -1))
        cos, sin = spread(angle.cos()).to(q.dtype), spread(angle.sin()).to(q.dtype)
        grow = 1.0
        if xpos:
            middle = at.double() - (at.amax(-1, keepdim=True) // 2).double()
            rate = torch.log((pair + 0.4 * r) / (1.4 * r)) / self.p["scale_base"]
            grow = spread(torch.exp(middle[:, None, :, None] * rate))

        def turn(x, factor):
            y, rest = x[..., :r], x[..., r:]
            if interleaved:
                other = torch.stack([-y[..., 1::2], y[..., 0::2]], -1).flatten(-2)
            else:
                other = torch.cat([-y[..., r // 2:], y[..., :r // 2]], -1)
            turned = y * cos + other * sin
            return torch.cat([(turned * factor).to(x.dtype), rest], -1)

        return turn(q, grow), turn(k, 1.0 / grow)

    def bias(self, learned, x, at, q, scores, visible):
        """(B or 1, H, T, T), or nothing. x: the layer's input after its norm; scores: <q, k> scaled."""
        p, method = self.p, self.method
        away = (at[:, :, None] - at[:, None, :]).double()[:, None]  # i - j
        if method == "alibi":
            slope = torch.tensor(alibi_slopes(self.config.n_head, p["slopes"]), device=x.device).double()
            distance = away.abs() if p["variant"] == "symmetric" else away
            return -slope[None, :, None, None] * distance
        if method in ("cable", "fox"):
            a = F.linear(x, learned.weight, learned.bias).double()
            b = (-F.softplus(a) if method == "cable" else F.logsigmoid(a)).cumsum(1).transpose(1, 2)
            b = b[:, :, :, None] - b[:, :, None, :]
            return -b.abs() if p.get("variant") == "bidirectional" else b
        if method == "kerple":
            strength, a = (getattr(learned, n).double().clamp(min=0.01)[None, :, None, None] for n in "pa")
            if p["variant"] == "log":
                return -strength * torch.log1p(a * away.abs())
            return -a * away.abs() ** strength.clamp(max=2.0)
        if method == "t5":
            side = p["buckets"] if self.config.causal else p["buckets"] // 2
            base = 0 if self.config.causal else (away < 0).long() * side
            n = away.clamp(min=0) if self.config.causal else away.abs()
            exact = side // 2
            far = torch.log(n.clamp(min=1) / exact) / math.log(p["max_distance"] / exact) * (side - exact)
            bucket = torch.where(n < exact, n, (exact + far.floor()).clamp(max=side - 1)).long() + base
            return learned.table.double()[bucket[:, 0]].permute(0, 3, 1, 2)
        if method == "fire":
            c, reach = learned.c.double(), getattr(learned, "lambda").double().abs() * p["init_length"]
            row = torch.log1p((c * torch.maximum(at.double(), reach)).abs()) + 1e-6
            u = torch.log1p((c * away[:, 0]).abs()) / row[:, :, None]
            hidden = F.relu(u[..., None] * learned.w1[:, 0].double() + learned.b1.double())
            return (hidden @ learned.w2.double().T + learned.b2.double()).permute(0, 3, 1, 2)
        if method == "cope":
            gates = torch.sigmoid(scores.double()).masked_fill(~visible, 0.0)
            n = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=p["max_positions"] - 1)
            low, high = n.floor().long(), n.ceil().long()
            at_whole = q.double() @ learned.table.double()
            weight = n - low
            return at_whole.gather(-1, high) * weight + at_whole.gather(-1, low) * (1.0 - weight)
        return None


class Attention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.c_attn, self.c_proj = Conv1D(config.n_embd, 3 * config.n_embd), Conv1D(config.n_embd, config.n_embd)
        self.n_head, self.terms = config.n_head, Position(config)
        shapes, shared = learned_shapes(config)
        if shapes and not shared:
            self.position = Learned(shapes)
        self.scale = self.terms.scale if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer + 1

    def forward(self, x, at, visible, shared):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(c, -1))
        q, k = self.terms.rotate(q, k, at)
        scores = q @ k.transpose(-1, -2) * self.scale
        bias = self.terms.bias(getattr(self, "position", shared), x, at, q, scores, visible)
        if bias is not None:
            scores = (scores.double() + bias).to(scores.dtype)
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        o = scores.softmax(-1, dtype=torch.promote_types(torch.float32, scores.dtype)).to(v.dtype) @ v
        return self.c_proj(o.transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        self.c_fc, self.c_proj = Conv1D(config.n_embd, inner), Conv1D(inner, config.n_embd)
        self.activation = config.activation_function

    def forward(self, x):
        return self.c_proj(ACTIVATIONS[self.activation](self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = Mlp(config)

    def forward(self, x, at, visible, shared):
        x = x + self.attn(self.ln_1(x), at, visible, shared)
        return x + self.mlp(self.ln_2(x))


class Body(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte, self.terms = nn.Embedding(config.vocab_size, config.n_embd), Position(config)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd) if self.terms.method == "learned" else None
        shapes, shared = learned_shapes(config)
        self.position = Learned(shapes) if shapes and shared else None
        self.h = nn.ModuleList([Block(config, layer) for layer in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.causal = config.causal

    def forward(self, ids, mask):
        if mask is None:
            mask = torch.ones_like(ids)
        at = (mask.long().cumsum(-1) - 1).clamp(min=0)
        t = ids.shape[1]
        visible = mask.bool()[:, None, None, :].expand(-1, 1, t, t)
        if self.causal:
            visible = visible & torch.ones(t, t, dtype=torch.bool, device=ids.device).tril()
        x = self.terms.add_to_input(self.wte(ids), at, self.wpe)
        for block in self.h:
            x = block(x, at, visible, self.position)
        return self.ln_f(x)


class LongrunForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = LongrunConfig
    base_model_prefix = "transformer"
    # transformers 4 reads the keys, 5 both sides.
    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.transformer = Body(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        pass  # every weight comes from the file

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, value):
        self.transformer.wte = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **_):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids, attention_mask=None, labels=None, **_):
        logits = self.lm_head(self.transformer(input_ids, attention_mask))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
