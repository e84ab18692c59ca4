"""Llama as the `transformers` package has it, with eager attention, reading texts beyond its length: the peer of
tools/bench.py.

  extension_peer.py make FOLDER --shape LAYERS,HEADS,WIDTH --length N
  extension_peer.py read FOLDER EXTENSION --prompt N --new N

`make` writes a folder of random weights, which longrun-extension-bench reads as well. `read` reads N tokens with a
cache and then N more, one at a time, under EXTENSION, a JSON map as `longrun-trainer --extend` takes it. The attention
of each method is written after its paper and after descriptions of its authors' program, in the steps that this program
is described to take; where that program calls flash attention, this one forms the scores:

  self_extend  github.com/datamllab/LongLM, self_extend_patch: keys are cached without rotation. Each call rotates all
               keys twice, forms both score matrices, and merges them by a mask.
  dca          github.com/HKUNLP/ChunkLlama, chunkllama_attn_replace.py: a prompt is read chunk by chunk; the parts for
               a query's own chunk, the chunk before and older chunks are merged by their log-sum-exp.
  gali         github.com/AcademyCityL/GALI, models/DPI: keys are cached without rotation. Each chunk, or generated
               token, rotates all keys to the positions above and below, forms both score matrices and interpolates.

Token i of the text is (i * i * 31 + i * 7) % 509 % V. fp32, one thread. Prints one JSON line:

  {"prefill_s", "decode_s": processor seconds, "first_logits", "last_logits": after the prompt and after all tokens}
"""
import argparse
import functools
import json
import math
import pathlib
import sys
import time

import torch
import transformers
from transformers.models.llama import modeling_llama

VOCABULARY = 512


def make(args):
    n_layer, n_head, width = map(int, args.shape.split(","))
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=n_layer,
        num_attention_heads=n_head, num_key_value_heads=n_head, max_position_embeddings=args.length,
        # Large, so that attention is not flat and a wrong position changes the logits.
        initializer_range=0.1)
    transformers.LlamaForCausalLM(config).save_pretrained(args.folder)


def rotated(x, position, frequency):
    angle = torch.outer(position.double(), frequency)
    cos, sin = (torch.cat([part, part], -1).to(x) for part in (angle.cos(), angle.sin()))
    return x * cos + modeling_llama.rotate_half(x) * sin


def softmax(scores):
    return torch.softmax(scores, dim=-1, dtype=torch.float32)


class Method:
    """What the methods have in common. `k` and `v` of attend() are all keys and values so far, in the form
    in which for_cache() gave them."""

    def __init__(self, params, config):
        self.params = params
        head_dim = config.hidden_size // config.num_attention_heads
        self.frequency = config.rope_parameters["rope_theta"] ** (
            -torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        self.scale = head_dim ** -0.5

    def rotate(self, x, position):
        return rotated(x, position, self.frequency)

    def for_cache(self, k, _):
        return k

    def pieces(self, n_before, n_tokens):
        """(n_before, n) of each call of the model."""
        return [(n_before, n_tokens)]


class SelfExtend(Method):
    def attend(self, q, k, v):
        g, w = self.params["group"], self.params["window"]
        n_query, n_key = q.shape[2], k.shape[2]
        key_position = torch.arange(n_key)
        query_position = key_position[n_key - n_query:]
        offset = w - w // g
        neighbor = self.rotate(q, query_position) @ self.rotate(k, key_position).transpose(2, 3) * self.scale
        group = (self.rotate(q, query_position // g + offset)
                 @ self.rotate(k, key_position // g).transpose(2, 3) * self.scale)
        if n_query > 1:
            causal = torch.full((n_query, n_key), torch.finfo(q.dtype).min).triu(1)
            neighbor, group = neighbor + causal, group + causal
            near = torch.ones(n_query, n_key).tril()
            near[w:, :-w] -= torch.ones(n_query - w, n_key - w).tril()
        else:
            near = torch.zeros(n_query, n_key)
            near[:, -w:] = 1
        merged = torch.where(near.bool(), neighbor, group)
        return softmax(merged) @ v


class DualChunk(Method):
    def __init__(self, params, config):
        super().__init__(params, config)
        self.size = 3 * params["original_length"] // 4
        self.chunk = self.size - params["local_window"]

    def for_cache(self, k, position):
        return self.rotate(k, position % self.chunk)

    def part(self, q, position, k, v, causal=False):
        scores = self.rotate(q, position) @ k.transpose(2, 3) * self.scale
        if causal:
            scores = scores + torch.full(scores.shape[2:], -math.inf).triu(1)
        return softmax(scores) @ v, torch.logsumexp(scores, -1, keepdim=True)

    def attend(self, q, k, v):
        n_key, n_query, c = k.shape[2], q.shape[2], self.chunk
        outputs = []
        begin = n_key - n_query
        while begin < n_key:
            first = begin // c * c
            end = min(first + c, n_key)
            own = q[:, :, begin - (n_key - n_query):end - (n_key - n_query)]
            position = torch.arange(begin, end) % c
            parts = [self.part(own, position, k[:, :, first:end], v[:, :, first:end], end - begin > 1)]
            if first > 0:
                parts.append(self.part(own, (position + c).clamp(max=self.size), k[:, :, first - c:first],
                                       v[:, :, first - c:first]))
            if first > c:
                far = torch.full_like(position, min(2 * c - 1, self.size))
                parts.append(self.part(own, far, k[:, :, :first - c], v[:, :, :first - c]))
            largest = torch.stack([lse for _, lse in parts]).amax(0)
            weights = [(lse - largest).exp() for _, lse in parts]
            outputs.append(sum(w * o for w, (o, _) in zip(weights, parts)) / sum(weights))
            begin = end
        return torch.cat(outputs, 2)


class Gali(Method):
    def pieces(self, n_before, n_tokens):
        pieces, end = [], n_before + n_tokens
        while n_before < end:
            original, chunk = self.params["original_length"], self.params["chunk"]
            n = original - n_before if n_before < original else chunk - (n_before - original) % chunk
            n = min(n, end - n_before)
            pieces.append((n_before, n))
            n_before += n
        return pieces

    @functools.lru_cache(maxsize=1)  # all layers of a call have the same
    def positions(self, n):
        original, window = self.params["original_length"], self.params["local_window"]
        if n <= original:
            return torch.arange(n, dtype=torch.float64)
        g = math.ceil((n - window) / (original - window))
        shared, m = [], 0
        while original - m + len(shared) < n:
            shared += [m + i / g for i in range(g)]
            m += 1
        return torch.tensor(shared[:n - (original - m)] + list(range(m, original)), dtype=torch.float64)

    def attend(self, q, k, v):
        n_key, n_query = k.shape[2], q.shape[2]
        position = self.positions(n_key)
        above, below = position.ceil(), position.floor()
        query = self.rotate(q, above[n_key - n_query:])
        at_above = query @ self.rotate(k, above).transpose(2, 3) * self.scale
        if n_key <= self.params["original_length"]:
            scores = at_above
        else:
            at_below = query @ self.rotate(k, below).transpose(2, 3) * self.scale
            r = (above[n_key - n_query:].unsqueeze(1) - position).remainder(1.0).to(q)
            scores = (1.0 - r) * at_above + r * at_below
        if n_query > 1:
            scores = scores + torch.full((n_query, n_key), torch.finfo(q.dtype).min).triu(n_key - n_query + 1)
        return softmax(scores) @ v


METHODS = {"self_extend": SelfExtend, "dca": DualChunk, "gali": Gali}


def patched(method):
    def forward(self, hidden_states, *_, **others):
        cache = others.get("cache", others.get("past_key_values"))
        shape = hidden_states.shape[:-1]
        q, k, v = (project(hidden_states).view(*shape, -1, self.head_dim).transpose(1, 2)
                   for project in (self.q_proj, self.k_proj, self.v_proj))
        n_before = cache.get_seq_length(self.layer_idx)
        k = method.for_cache(k, torch.arange(n_before, n_before + k.shape[2]))
        k, v = cache.update(k, v, self.layer_idx)
        o = method.attend(q, k, v)
        return self.o_proj(o.transpose(1, 2).reshape(*shape, -1)), None
    return forward


@torch.no_grad()
def read(args):
    model = transformers.LlamaForCausalLM.from_pretrained(args.folder, attn_implementation="eager",
                                                          dtype=torch.float32).eval()
    params = json.loads(args.extension)
    method = METHODS[params["method"]](params, model.config)
    modeling_llama.LlamaAttention.forward = patched(method)
    i = torch.arange(args.prompt + args.new)
    ids = ((i * i * 31 + i * 7) % 509 % model.config.vocab_size).unsqueeze(0)
    cache = transformers.DynamicCache(config=model.config)
    # The methods mask by themselves; a mask of four dimensions is not made again by the model.
    no_mask = torch.zeros(1, 1, 1, 1)

    def feed(begin, n):
        for at, n_piece in method.pieces(begin, n):
            logits = model(input_ids=ids[:, at:at + n_piece], attention_mask=no_mask, use_cache=True,
                           logits_to_keep=1, past_key_values=cache).logits
        return logits[0, -1]

    begin = time.process_time()
    first = feed(0, args.prompt)
    prefill_s = time.process_time() - begin
    begin = time.process_time()
    last = first
    for at in range(args.prompt, args.prompt + args.new):
        last = feed(at, 1)
    decode_s = time.process_time() - begin
    return {"prefill_s": prefill_s, "decode_s": decode_s, "first_logits": first.tolist(), "last_logits": last.tolist()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "read"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("extension", nargs="?")
    parser.add_argument("--shape")
    parser.add_argument("--length", type=int)
    parser.add_argument("--prompt", type=int)
    parser.add_argument("--new", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    if args.what == "make":
        make(args)
    else:
        print(json.dumps(read(args)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
