"""Logits and gradients of `longrun-trainer forward` and `grad`, for every position method and every
key of config.json that changes the mathematics, against originals.py in float64."""
import json
import os

import torch
from safetensors.torch import load_file, save_file

from originals import Original

BASE = {"model_type": "gpt2", "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 40,
        "vocab_size": 37, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}


def at(method, **params):
    return {"position": {"method": method, **params}}


CASES = {
    "gpt2": {},
    "gpt2 heads 1": {"n_head": 1},
    "gpt2 heads 3": {"n_head": 3},
    "gpt2 heads 6": {"n_head": 6},
    "gpt2 heads 12": {"n_head": 12},
    "gpt2 heads 24": {"n_head": 24},
    "gpt2 n_inner 10": {"n_inner": 10},
    "gpt2 n_inner null": {"n_inner": None},
    "gpt2 unscaled": {"scale_attn_weights": False},
    "gpt2 inverse layer": {"scale_attn_by_inverse_layer_idx": True},
    "gpt2 unscaled, inverse layer": {"scale_attn_weights": False,
                                     "scale_attn_by_inverse_layer_idx": True},
    "gpt2 reorder_and_upcast": {"reorder_and_upcast_attn": True},
    "gpt2 reorder_and_upcast, inverse": {"reorder_and_upcast_attn": True,
                                         "scale_attn_by_inverse_layer_idx": True},
    "gpt2 untied": {"tie_word_embeddings": False},
    "gpt2 epsilon 1e-2": {"layer_norm_epsilon": 1e-2},
    "gpt2 epsilon 1e-12": {"layer_norm_epsilon": 1e-12},
    "gpt2 one layer": {"n_layer": 1},
    "learned, named": at("learned"),
    "learned, by string": {"position": "learned"},
    "learned clamp": {**at("learned", beyond="clamp"), "n_positions": 11},
    "learned wrap": {**at("learned", beyond="wrap"), "n_positions": 11},
    "learned bidirectional": {**at("learned"), "causal": False},
    "none": at("none"),
    "none bidirectional": {**at("none"), "causal": False},
    "sinusoidal": at("sinusoidal"),
    "sinusoidal fairseq": at("sinusoidal", layout="fairseq"),
    "sinusoidal fairseq odd": {**at("sinusoidal", layout="fairseq"), "n_embd": 27, "n_head": 3},
    "sinusoidal multiplier": at("sinusoidal", multiplier=24**0.5),
    "sinusoidal multiplier untied": {**at("sinusoidal", multiplier=24**0.5),
                                     "tie_word_embeddings": False},
    "sinusoidal bidirectional": {**at("sinusoidal"), "causal": False},
    "rope half": at("rope"),
    "rope interleaved": at("rope", layout="interleaved"),
    "rope half partial": {**at("rope", partial=0.5), "n_embd": 32},
    "rope half partial 0.34": {**at("rope", partial=0.34), "n_embd": 24, "n_head": 2},
    "rope interleaved partial": {**at("rope", layout="interleaved", partial=0.25), "n_embd": 32},
    "rope base 500000": at("rope", base=500000),
    "rope odd head_dim": {**at("rope", partial=0.67), "n_embd": 21, "n_head": 7},
    "rope bidirectional": {**at("rope"), "causal": False},
    "alibi H=4": at("alibi"),
    "alibi H=6": {**at("alibi"), "n_head": 6},
    "alibi H=8": {**at("alibi"), "n_head": 8},
    "alibi H=12": {**at("alibi"), "n_head": 12},
    "alibi H=3": {**at("alibi"), "n_head": 3},
    "alibi geometric H=6": {**at("alibi", slopes="geometric"), "n_head": 6},
    "alibi symmetric H=6": {**at("alibi", variant="symmetric"), "n_head": 6, "causal": False},
    "alibi symmetric geometric": {**at("alibi", variant="symmetric", slopes="geometric"),
                                  "n_head": 12, "causal": False},
    "alibi jaketae H=6": {**at("alibi", variant="jaketae"), "n_head": 6},
    "alibi jaketae nearest H=12": {**at("alibi", variant="jaketae", slopes="nearest_power"),
                                   "n_head": 12},
    "alibi jaketae bidirectional": {**at("alibi", variant="jaketae"), "causal": False},
    "cable official": at("cable"),
    "cable by string": {"position": "cable"},
    "cable official H=6": {**at("cable"), "n_head": 6},
    "cable scaled": at("cable", variant="scaled"),
    "cable augmented": at("cable", variant="augmented"),
    "cable bidirectional": {**at("cable", variant="bidirectional"), "causal": False},
    "t5": at("t5"),
    "t5 own scale": at("t5", scale=1.0),
    "t5 small": at("t5", buckets=8, max_distance=16),
    "t5 per layer H=6": {**at("t5", share_layers=False, buckets=6, max_distance=11), "n_head": 6},
    "t5 bidirectional": {**at("t5", buckets=12, max_distance=20), "causal": False},
    "kerple log": at("kerple"),
    "kerple log shared": at("kerple", share_layers=True),
    "kerple power H=6": {**at("kerple", variant="power"), "n_head": 6},
    "kerple bidirectional": {**at("kerple"), "causal": False},
    "fire": at("fire"),
    "fire small": {**at("fire", width=5, init_length=7), "n_head": 3},
    "fire shared": at("fire", share_layers=True, init_length=16),
    "fire bidirectional": {**at("fire", init_length=9), "causal": False},
    "xpos": at("xpos"),
    "xpos scale_base 16": {**at("xpos", scale_base=16.0), "n_head": 6},
    "cope": at("cope"),
    "cope 5": {**at("cope", max_positions=5), "n_head": 3},
    "fox": at("fox"),
    "fox H=6": {**at("fox"), "n_head": 6},
    "cable untied": {**at("cable"), "tie_word_embeddings": False, "n_inner": 17},
}
ACTIVATIONS = ("gelu", "relu", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "silu", "swish",
               "tanh", "quick_gelu", "gelu_accurate")
LENGTHS = (1, 2, 29)
FAR = {"gpt2 far": ({"n_positions": 700}, 700), "cable far": (at("cable"), 700),
       "alibi far": (at("alibi"), 700), "rope far": (at("rope"), 700),
       "cable bidirectional far": ({**at("cable", variant="bidirectional"), "causal": False}, 300),
       "alibi symmetric far": ({**at("alibi", variant="symmetric"), "causal": False}, 300)}


def write_folder(folder, config, tensors):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    return folder


def tokens_of(config, n_rows, length, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config["vocab_size"], (n_rows, length), generator=generator)


def ask(trainer, verb, folder, tokens, *more):
    """The tensors it writes, or its refusal as text."""
    given, output = os.path.join(folder, "tokens.safetensors"), os.path.join(folder, "out")
    save_file({"tokens": tokens.contiguous()}, given)
    done = trainer.run(verb, "--model", folder, "--tokens", given, "--output", output, *more)
    if done.returncode != 0:
        return f"exit {done.returncode}: {done.stderr.strip()}"
    return load_file(output)


def worst(given, expected):
    """Largest difference; a tensor that one side lacks is infinitely far."""
    if isinstance(given, str):
        print("    ", given)
        return float("inf")
    if given.keys() != expected.keys():
        print("     names differ:", sorted(given.keys() ^ expected.keys()))
        return float("inf")
    return max((given[n].double() - expected[n].double()).abs().max().item() for n in expected)


def check_case(trainer, report, folder, name, config, lengths, n_rows=3):
    original = Original(config, longest=max(lengths))
    write_folder(folder, config, original.state())
    single = double = brain = slope = fused = 0.0
    # LibTorch's attention adds nothing to the scores.
    has_fused = original.position["method"] in ("learned", "none", "sinusoidal", "rope", "xpos")
    # CoPE sums a gate for each key, each off by bf16's rounding of its score.
    brain_limit = 0.3 if original.position["method"] == "cope" else 0.15
    for length in lengths:
        tokens = tokens_of(config, n_rows, length)
        with torch.no_grad():
            expected = {"logits": original.logits(tokens)}
        scale = max(1.0, expected["logits"].abs().max().item())
        single = max(single, worst(ask(trainer, "forward", folder, tokens), expected) / scale)
        double = max(double, worst(ask(trainer, "forward", folder, tokens, "--dtype", "fp64"),
                                   expected))
        brain = max(brain, worst(ask(trainer, "forward", folder, tokens, "--dtype", "bf16"),
                                 expected) / scale)
        if has_fused:
            fused = max(fused, worst(ask(trainer, "forward", folder, tokens, "--dtype", "fp64",
                                         "--attention", "torch"), expected))
        if length > 1:
            slope = max(slope, worst(ask(trainer, "grad", folder, tokens, "--dtype", "fp64"),
                                     original.gradients(tokens)))
    report.difference(f"{name}: fp32 (relative)", single, 2e-5)
    report.difference(f"{name}: fp64", double, 1e-10)
    if has_fused:
        report.difference(f"{name}: fp64, LibTorch's attention", fused, 1e-10)
    report.difference(f"{name}: bf16 (relative)", brain, brain_limit)
    report.difference(f"{name}: gradients, fp64", slope, 1e-9)


def check(trainer, report, scratch):
    n = 0
    cases = {name: (BASE | changes, LENGTHS) for name, changes in CASES.items()}
    cases |= {f"gpt2 {a}": (BASE | {"activation_function": a}, (29,)) for a in ACTIVATIONS}
    cases |= {name: (BASE | changes, (length,)) for name, (changes, length) in FAR.items()}
    for name, (config, lengths) in cases.items():
        if not report.wants(name):
            continue
        n += 1
        check_case(trainer, report, os.path.join(scratch, str(n)), name, config, lengths,
                   n_rows=1 if "far" in name else 3)
