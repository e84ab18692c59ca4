"""Relative biases and rotations as their authors' code or listings write them, as modules whose
parameters carry our names. Nothing here was taken from our C++.

`module.scores(x, q, k, causal)` gives the scores before the mask: x (B, T, C) is the layer's input,
q and k are (B, H, T, d).
"""
import math

import torch
from torch import nn
from transformers.models.t5.modeling_t5 import T5Attention


class T5(nn.Module):
    def __init__(self, position, heads, width):
        super().__init__()
        self.buckets = position.get("buckets", 32)
        self.furthest = position.get("max_distance", 128)
        self.scale = position.get("scale", 0) or 1 / math.sqrt(width // heads)
        self.table = nn.Parameter(torch.empty(self.buckets, heads))

    def scores(self, x, q, k, causal):
        at = torch.arange(q.shape[2])
        bucket = T5Attention._relative_position_bucket(
            at[None, :] - at[:, None], bidirectional=not causal, num_buckets=self.buckets,
            max_distance=self.furthest)
        return self.scale * q @ k.transpose(2, 3) + self.table[bucket].permute(2, 0, 1)


class Kerple(nn.Module):
    """ParallelKerpleLog and ParallelKerplePower, chijames/KERPLE, megatron/mpu/layers.py."""

    def __init__(self, position, heads, width):
        super().__init__()
        self.power = position.get("variant", "log") == "power"
        self.p = nn.Parameter(torch.empty(heads))
        self.a = nn.Parameter(torch.empty(heads))

    def scores(self, x, q, k, causal):
        self.p.data.clamp_(min=1e-2)
        self.a.data.clamp_(min=1e-2)
        if self.power:
            self.p.data.clamp_(max=2)
        at = torch.arange(q.shape[2]).to(q.dtype)
        diff = (at[:, None] - at[None, :]).abs()
        p, a = self.p[:, None, None], self.a[:, None, None]
        if self.power:
            # 0^p, whose derivative by p is 0 ln 0: the diagonal is left out.
            bias = torch.where(diff > 0, -a * diff.clamp(min=1) ** p, torch.zeros_like(diff))
        else:
            bias = -p * torch.log(1 + a * diff)
        return q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias


class Fire(nn.Module):
    """The listing of the paper's appendix."""

    def __init__(self, position, heads, width):
        super().__init__()
        hidden = position.get("width", 32)
        self.w1, self.b1 = nn.Parameter(torch.empty(hidden, 1)), nn.Parameter(torch.empty(hidden))
        self.w2, self.b2 = nn.Parameter(torch.empty(heads, hidden)), nn.Parameter(torch.empty(heads))
        self.c = nn.Parameter(torch.empty(1))
        self.register_parameter("lambda", nn.Parameter(torch.empty(1)))
        self.init_length = position.get("init_length", 512)

    def scores(self, x, q, k, causal):
        at = torch.arange(q.shape[2]).to(q.dtype)
        distance = at[:, None] - at[None, :]
        if not causal:
            distance = distance.abs()
        threshold = torch.abs(getattr(self, "lambda") * self.init_length)
        normalizer = torch.max(at, threshold)[:, None]
        distance = torch.log(torch.abs(self.c * distance) + 1)
        normalizer = torch.log(torch.abs(self.c * normalizer) + 1) + 1e-6
        u = (distance / normalizer)[..., None]
        hidden = torch.relu(nn.functional.linear(u, self.w1, self.b1))
        bias = nn.functional.linear(hidden, self.w2, self.b2).permute(2, 0, 1)
        return q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias


class Xpos(nn.Module):
    """torchscale, component/xpos_relative_position.py."""

    def __init__(self, position, heads, width):
        super().__init__()
        self.scale_base = position.get("scale_base", 512)

    @staticmethod
    def rotate_every_two(x):
        x = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1)
        return x.flatten(-2)

    def turn(self, x, downscale):
        n, d = x.shape[2], x.shape[3]
        zeta = (torch.arange(0, d, 2).to(x.dtype) + 0.4 * d) / (1.4 * d)
        low = -n // 2
        scale = zeta ** (torch.arange(low, low + n).to(x.dtype) / self.scale_base)[:, None]
        rate = 1.0 / (10000 ** (torch.arange(0, d // 2).to(x.dtype) / (d // 2)))
        angle = torch.arange(n).to(x.dtype)[:, None] * rate[None, :]
        if downscale:
            scale = 1 / scale
        sin, cos = ((t * scale).repeat_interleave(2, 1) for t in (angle.sin(), angle.cos()))
        return x * cos + self.rotate_every_two(x) * sin

    def scores(self, x, q, k, causal):
        return (self.turn(q, False) @ self.turn(k, True).transpose(2, 3)) / math.sqrt(q.shape[-1])


class Cope(nn.Module):
    """The listing of the paper's section 4."""

    def __init__(self, position, heads, width):
        super().__init__()
        self.n = position.get("max_positions", 64)
        self.table = nn.Parameter(torch.empty(width // heads, self.n))

    def scores(self, x, q, k, causal):
        t = q.shape[2]
        logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        logits = logits.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        gates = torch.sigmoid(logits)
        pos = gates.flip(-1).cumsum(dim=-1).flip(-1).clamp(max=self.n - 1)
        pos_ceil, pos_floor = pos.ceil().long(), pos.floor().long()
        logits_int = torch.matmul(q, self.table)
        logits_ceil, logits_floor = logits_int.gather(-1, pos_ceil), logits_int.gather(-1, pos_floor)
        w = pos - pos_floor
        return logits + logits_ceil * w + logits_floor * (1 - w)


class Fox(nn.Linear):
    def __init__(self, position, heads, width):
        super().__init__(width, heads)

    def scores(self, x, q, k, causal):
        f = torch.cumsum(nn.functional.logsigmoid(self(x)), 1).transpose(1, 2)
        return (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
                + f[..., :, None] - f[..., None, :])


# Whether layers share it when the configuration does not say.
METHODS = {"t5": (T5, True), "kerple": (Kerple, False), "fire": (Fire, False), "xpos": (Xpos, False),
           "cope": (Cope, False), "fox": (Fox, False)}
