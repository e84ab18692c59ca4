"""The originals that longrun-trainer is compared with: transformers' own GPT-2 as the body, and
each position method as its authors' code writes it, put into that body's attention.

`Original` builds the model that a folder's config.json describes; its parameters carry the names of
the folder's tensors, so gradients are compared name by name. Nothing here was taken from our C++.
"""
import math

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb as rotate_neox
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as rotate_gptj

import relative_biases

OUR_KEYS = ("position", "causal")
STOCK_ATTENTION = modeling_gpt2.eager_attention_forward


def press_slopes(n):
    """attention_with_linear_biases, fairseq/models/transformer.py."""
    def power_of_2(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n).is_integer():
        return power_of_2(n)
    closest = 2 ** math.floor(math.log2(n))
    return power_of_2(closest) + press_slopes(2 * closest)[0::2][: n - closest]


def jaketae_slopes(n):
    """jaketae/alibi, alibi/attention.py."""
    x = (2**8) ** (1 / n)
    return [1 / x ** (i + 1) for i in range(n)]


def vaswani_table(n_positions, width):
    """Section 3.5, as the annotated transformer writes it."""
    position = torch.arange(n_positions).double()[:, None]
    rate = torch.exp(torch.arange(0, width, 2).double() * -(math.log(10000.0) / width))
    table = torch.zeros(n_positions, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


def fairseq_table(n_positions, width):
    """SinusoidalPositionalEmbedding.get_embedding, fairseq/modules."""
    half = width // 2
    rate = torch.exp(torch.arange(half).double() * -(math.log(10000) / (half - 1)))
    angle = torch.arange(n_positions).double()[:, None] * rate[None, :]
    table = torch.cat([torch.sin(angle), torch.cos(angle)], 1)
    return torch.cat([table, torch.zeros(n_positions, 1).double()], 1) if width % 2 else table


def rope(position, q, k):
    d, t = q.shape[-1], q.shape[-2]
    n = int(d * position.get("partial", 1.0))
    rate = 1.0 / (position.get("base", 10000.0) ** (torch.arange(0, n, 2).double() / n))
    angle = torch.arange(t).double()[:, None] * rate[None, :]
    q_turn, k_turn = q[..., :n], k[..., :n]
    if position.get("layout", "half") == "half":
        both = torch.cat([angle, angle], -1)
        cos, sin = both.cos().to(q.dtype)[None], both.sin().to(q.dtype)[None]
        q_turn, k_turn = rotate_neox(q_turn, k_turn, cos, sin)
    else:  # GPT-J keeps (B, T, H, d)
        cos, sin = angle.cos().to(q.dtype)[None], angle.sin().to(q.dtype)[None]
        q_turn, k_turn = (rotate_gptj(x.transpose(1, 2), sin, cos).transpose(1, 2)
                          for x in (q_turn, k_turn))
    return torch.cat([q_turn, q[..., n:]], -1), torch.cat([k_turn, k[..., n:]], -1)


def alibi_bias(position, heads, t, dtype):
    variant = position.get("variant", "press")
    rule = position.get("slopes", "geometric" if variant == "jaketae" else "nearest_power")
    slopes = torch.tensor(jaketae_slopes(heads) if rule == "geometric" else press_slopes(heads),
                          dtype=torch.float64)[:, None, None]
    i, j = torch.arange(t)[:, None], torch.arange(t)[None, :]
    if variant == "symmetric":
        return (slopes * -(i - j).abs()).to(dtype)
    if variant == "jaketae":
        return (slopes * (j - i)).to(dtype)
    return (slopes * j).to(dtype)  # Press: a row per head, without -i


def cable_scores(position, module, q, k):
    """src/Cable.py; `augmented` as its notebook's wider q and k. (B, H, T, d)."""
    gate = module.position(module.layer_input)
    b = -torch.cumsum(torch.nn.functional.softplus(gate), dim=1).transpose(1, 2)
    variant, width = position.get("variant", "official"), module.embed_dim
    if variant == "augmented":
        z, one = b[..., None], torch.full_like(b[..., None], math.sqrt(width))
        return (torch.cat([q, one, z], -1) @ torch.cat([k, -z, one], -1).transpose(2, 3)
                / math.sqrt(width))
    distance = b[..., :, None] - b[..., None, :]
    scores = q @ k.transpose(2, 3)
    if variant == "official":
        return scores + distance
    bias = -distance.abs() if variant == "bidirectional" else distance
    return scores / math.sqrt(q.shape[-1]) + bias


def attention(module, q, k, v, attention_mask, head_mask=None, **_):
    """Takes the place of transformers' eager_attention_forward."""
    position, causal = module.method
    method, t = position["method"], q.shape[2]
    if method == "rope":
        q, k = rope(position, q, k)
    if method in relative_biases.METHODS:
        scores = module.__dict__["terms"].scores(module.layer_input, q, k, causal)
    elif method == "cable":
        scores = cable_scores(position, module, q, k)
    else:
        jaketae = method == "alibi" and position.get("variant") == "jaketae"
        scores = q @ k.transpose(2, 3) / math.sqrt(module.embed_dim if jaketae else q.shape[-1])
        if method == "alibi":
            scores = scores + alibi_bias(position, q.shape[1], t, q.dtype)
    if causal:
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    p = torch.softmax(scores, -1)
    return (p.to(v.dtype) @ v).transpose(1, 2), p


class Original:
    """The model of a config.json, in eval mode, with parameters drawn wide enough to matter."""

    def __init__(self, config, dtype=torch.float64, seed=0, longest=64):
        self.position = config.get("position") or {"method": "learned"}
        if isinstance(self.position, str):
            self.position = {"method": self.position}
        self.learned = self.position["method"] == "learned"
        self.stock = "position" not in config and config.get("causal", True)
        given = {k: v for k, v in config.items() if k not in OUR_KEYS}
        # The same function in another order of operations; in float64 transformers cannot run it.
        given.pop("reorder_and_upcast_attn", None)
        if not self.learned:
            given["n_positions"] = longest
        hf = GPT2Config(**given, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
                        attn_implementation="eager")
        torch.manual_seed(seed)
        self.net = GPT2LMHeadModel(hf).to(dtype).eval()
        for block in self.net.transformer.h:
            block.attn.method = (self.position, config.get("causal", True))
            if self.position["method"] == "cable":
                block.attn.position = torch.nn.Linear(hf.n_embd, hf.n_head).to(dtype)
            if self.position["method"] in relative_biases.METHODS:
                kind, shared = relative_biases.METHODS[self.position["method"]]
                shared = self.position.get("share_layers", shared)
                owner = self.net.transformer if shared else block.attn
                if not hasattr(owner, "position"):
                    owner.position = kind(self.position, hf.n_head, hf.n_embd).to(dtype)
                block.attn.__dict__["terms"] = owner.position
            block.attn.register_forward_pre_hook(
                lambda module, args: setattr(module, "layer_input", args[0]))
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                draw = torch.randn(parameter.shape, dtype=torch.float64)
                scale = 0.5 if parameter.dim() < 2 else 2 / math.sqrt(parameter.shape[0])
                value = draw * min(0.5, scale)
                if ".ln_" in name and name.endswith("weight"):
                    value = 1 + 0.3 * draw
                parameter.copy_(value.float())  # exact in the file's fp32
            wpe = self.net.transformer.wpe.weight
            if not self.learned:
                wpe.zero_().requires_grad_(False)
            if self.position["method"] == "sinusoidal":
                table = (fairseq_table if self.position.get("layout") == "fairseq"
                         else vaswani_table)(longest, hf.n_embd)
                wpe.copy_(table)

    def load(self, tensors):
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(tensors[name])
        return self

    def parameters(self):
        return {n: p for n, p in self.net.named_parameters() if p.requires_grad}

    def state(self):
        return {n: p.detach().float().contiguous() for n, p in self.parameters().items()}

    def logits(self, tokens):
        t = tokens.shape[1]
        ids = torch.arange(t)
        rows = self.net.config.n_positions
        beyond = self.position.get("beyond", "refuse")
        if self.learned and beyond != "refuse":
            ids = ids % rows if beyond == "wrap" else ids.clamp(max=rows - 1)
        embedded = self.net.transformer.wte(tokens) * self.position.get("multiplier", 1.0)
        modeling_gpt2.eager_attention_forward = STOCK_ATTENTION if self.stock else attention
        try:
            return self.net(inputs_embeds=embedded, position_ids=ids[None], use_cache=False).logits
        finally:
            modeling_gpt2.eager_attention_forward = STOCK_ATTENTION

    def loss(self, tokens):
        """Mean over rows of T + 1 tokens: T are fed, each predicts the next."""
        out = self.logits(tokens[:, :-1]).flatten(0, 1)
        out = out.float() if out.dtype == torch.bfloat16 else out
        return torch.nn.functional.cross_entropy(out, tokens[:, 1:].flatten())

    def gradients(self, tokens):
        """Of the mean next-token loss; the last token is fed too, as a user's script would."""
        self.net.zero_grad(set_to_none=True)
        out = self.logits(tokens)[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(out, tokens[:, 1:].flatten()).backward()
        return {n: p.grad if p.grad is not None else torch.zeros_like(p)
                for n, p in self.parameters().items()}
