"""Logits and gradients of random small configurations of every architecture, against transformers in
float32: head counts, widths, lengths and rope_scaling that no list here names. Each number is a seed,
so a case that fails is run again by its name: -k "random 17".
"""
import os
import random

import torch

from check_bodies import difference, forward, model_of
from check_forward import ask

N_CASES = 60
ACTS = ("silu", "gelu", "relu", "gelu_new", "swish", "gelu_pytorch_tanh")


def scaling(draw, n_rotary):
    factor = draw.choice((1.0, 1.5, 2.0, 4.0, 8.0))
    length = draw.choice((8, 16, 64, 4096))
    return draw.choice((
        {"rope_type": "linear", "factor": factor},
        {"rope_type": "dynamic", "factor": factor},
        {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
         "high_freq_factor": draw.choice((1.5, 4.0)), "original_max_position_embeddings": length},
        {"rope_type": "yarn", "factor": factor, "beta_fast": draw.choice((32.0, 4.0)),
         "original_max_position_embeddings": length, "truncate": draw.choice((True, False))},
        {"type": "yarn", "factor": factor, "mscale": draw.choice((1.0, 0.7)),
         "mscale_all_dim": draw.choice((0, 1.0))},
        {"rope_type": "longrope", "factor": factor,
         "short_factor": [draw.uniform(1, 2) for _ in range(n_rotary // 2)],
         "long_factor": [draw.uniform(1, 5) for _ in range(n_rotary // 2)]}))


def gpt2(draw, heads):
    return {"n_embd": heads * draw.choice((2, 3, 5, 8)), "n_head": heads,
            "n_layer": draw.choice((1, 3)), "n_inner": draw.choice((None, 7, 40)),
            "n_positions": 200, "activation_function": draw.choice(ACTS),
            "scale_attn_weights": draw.choice((True, False)),
            "scale_attn_by_inverse_layer_idx": draw.choice((True, False))}


def gptj(draw, heads):
    width = draw.choice((4, 6, 10))
    return {"n_embd": heads * width, "n_head": heads, "n_layer": draw.choice((1, 3)),
            "n_inner": draw.choice((None, 7)), "n_positions": 200,
            "rotary_dim": draw.randrange(2, width + 1, 2)}


def rotary(draw, heads, width):
    return {"num_attention_heads": heads, "num_hidden_layers": draw.choice((1, 3)),
            "intermediate_size": draw.choice((10, 33)), "hidden_act": draw.choice(ACTS),
            "max_position_embeddings": draw.choice((16, 33, 4096)),
            "rope_scaling": draw.choice((None, scaling(draw, width)))}


def gpt_neox(draw, heads):
    width, share = draw.choice(((4, 0.5), (8, 0.25), (8, 1.0), (12, 0.34)))
    return rotary(draw, heads, int(width * share)) | {
        "hidden_size": heads * width, "rotary_pct": share,
        "rotary_emb_base": draw.choice((10000, 77)),
        "use_parallel_residual": draw.choice((True, False)),
        "attention_bias": draw.choice((True, False))}


def llama(draw, heads):
    width = draw.choice((4, 6, 16))
    return rotary(draw, heads, width) | {
        "hidden_size": draw.choice((heads * width, 33)), "head_dim": width,
        "num_key_value_heads": draw.choice([n for n in range(1, heads + 1) if heads % n == 0]),
        "rope_theta": draw.choice((10000.0, 5e5, 77.0)),
        "pad_token_id": draw.choice((None, 0, 3))}


def drawn(seed):
    """model_type and what differs from its defaults."""
    draw = random.Random(seed)
    heads = draw.choice((1, 2, 3, 5, 6, 7, 12))
    kind = draw.choice(("gpt2", "gptj", "gpt_neox", "llama", "mistral", "qwen2"))
    changes = {"gpt2": gpt2, "gptj": gptj, "gpt_neox": gpt_neox}.get(kind, llama)(draw, heads)
    changes |= {"vocab_size": draw.choice((5, 31)), "initializer_range": 0.2,
                "tie_word_embeddings": draw.choice((True, False))}
    if kind == "llama":
        changes |= {"attention_bias": draw.choice((True, False)),
                    "mlp_bias": draw.choice((True, False))}
    if kind == "mistral":
        changes["sliding_window"] = draw.choice((None, 1, 5, 300))
    if kind == "qwen2":
        changes |= {"use_sliding_window": draw.choice((True, False)),
                    "sliding_window": draw.choice((1, 9)),
                    "max_window_layers": draw.choice((0, 1, 28))}
    longest = changes.get("n_positions", 200)
    lengths = [draw.choice((1, 2, 13)), min(longest, draw.choice((16, 17, 34, 130)))]
    return kind, changes, sorted(lengths)


def check(trainer, report, scratch):
    for seed in range(N_CASES):
        kind, changes, lengths = drawn(seed)
        name = f"random {seed} {kind}"
        if not report.wants(name):
            continue
        folder = os.path.join(scratch, str(seed))
        model = model_of(kind, changes)
        model.save_pretrained(folder)
        generator = torch.Generator().manual_seed(seed)
        logits = slope = 0.0
        for length in lengths:
            tokens = torch.randint(0, changes["vocab_size"], (2, length), generator=generator)
            expected = model(tokens, use_cache=False).logits
            scale = max(1.0, expected.abs().max().item())
            logits = max(logits, difference(forward(trainer, folder, tokens),
                                            expected.detach().double()) / scale)
            if length == 1:
                continue
            model.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(expected[:, :-1].flatten(0, 1),
                                              tokens[:, 1:].flatten()).backward()
            found = ask(trainer, "grad", folder, tokens)
            if isinstance(found, str):
                print("    ", found)
                slope = float("inf")
                continue
            expected = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
            scale = max(1.0, *(g.abs().max().item() for g in expected.values()))
            slope = max(slope, *(difference(found[n], g) / scale for n, g in expected.items()))
        report.difference(f"{name}: logits (relative)", logits, 2e-5)
        report.difference(f"{name}: gradients (relative)", slope, 1e-4)
