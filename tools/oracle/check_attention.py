"""The averaged attention of `longrun-trainer attention` against transformers' output_attentions=True:
GPT-2, GPT-NeoX and Llama-like models with random weights, all layers and heads and some, probabilities
and their entropies; and logits, as far as probabilities determine them: up to a number for each row.
"""
import os

import torch
from safetensors.torch import load_file, save_file

from check_bodies import CASES as BODIES
from check_bodies import model_of

GPT2 = {"vocab_size": 61, "n_embd": 40, "n_layer": 3, "n_head": 5, "n_positions": 160}
CASES = {"gpt2": ("gpt2", GPT2),
         "gpt2 scaled by layer": ("gpt2", GPT2 | {"scale_attn_by_inverse_layer_idx": True})}
CASES |= {name: BODIES[name] for name in ("llama", "llama yarn", "mistral window 7", "gpt_neox quarter",
                                          "qwen2")}
CASES["gptj"] = ("gptj", BODIES["gptj"][1] | {"n_positions": 160})
CHOICES = {"all": {}, "layer 1, heads 0 and 3": {"layers": [1], "heads": [0, 3]}}
LENGTHS = (1, 13, 150)  # the last has more queries than one block


def attention_of(trainer, folder, tokens, *more):
    given, output = os.path.join(folder, "tokens"), os.path.join(folder, "out")
    save_file({"tokens": tokens.contiguous()}, given)
    done = trainer.run("attention", "--model", folder, "--tokens", given, "--output", output,
                       "--dtype", "fp64", *more)
    if done.returncode != 0:
        print("    ", done.stderr.strip())
        return None
    return load_file(output)


def entropy(p):
    return torch.special.entr(p).sum(-1)


def differences(found, p_LBHQK):
    """Of the map, and of both entropies."""
    mean = p_LBHQK.mean((0, 1, 2))
    return {"map": (found["attention"].double() - mean).abs().max().item(),
            "entropy": (found["entropy"] - entropy(mean)).abs().max().item(),
            "head entropy": (found["head_entropy"] - entropy(p_LBHQK).mean((0, 1, 2))).abs().max()
            .item()}


def logit_difference(found, p_LBHQK):
    """Mean logits beside mean ln p: the rows' own numbers are taken out of both."""
    seen = p_LBHQK[0, 0, 0] > 0
    expected = p_LBHQK.clamp_min(1e-300).log().mean((0, 1, 2))
    rows = torch.where(seen, found["attention"].double() - expected, torch.nan)
    if not torch.equal(seen, ~found["attention"].isnan()):
        return float("inf")
    return (rows - rows.nanmean(-1, keepdim=True)).nan_to_num().abs().max().item()


def check_case(trainer, report, folder, name, model_type, changes):
    generator = torch.Generator().manual_seed(5)
    largest = {}
    for length in LENGTHS:
        tokens = torch.randint(0, 61, (2, length), generator=generator)
        model = model_of(model_type, changes).double()
        model.save_pretrained(folder)
        with torch.no_grad():
            attentions = model(tokens, use_cache=False, output_attentions=True).attentions
        p_LBHQK = torch.stack(attentions).double()
        for choice, chosen in CHOICES.items():
            arguments = []
            part = p_LBHQK
            for dim, key in ((0, "layers"), (2, "heads")):
                if key in chosen:
                    arguments += [f"--{key}", ",".join(map(str, chosen[key]))]
                    part = part.index_select(dim, torch.tensor(chosen[key]))
            found = attention_of(trainer, folder, tokens, *arguments)
            logits = attention_of(trainer, folder, tokens, "--values", "logits", *arguments)
            found = {} if found is None or logits is None else differences(found, part) | {
                "logits": logit_difference(logits, part)}
            for what in ("map", "entropy", "head entropy", "logits"):
                key = f"{name}, {choice}: {what}"
                largest[key] = max(largest.get(key, 0.0), found.get(what, float("inf")))
    for key, value in largest.items():
        # transformers keeps rotary angles and some softmaxes in float32.
        report.difference(key, value, 2e-5 if not key.endswith("logits") else 2e-4)


def check(trainer, report, scratch):
    for n, (name, (model_type, changes)) in enumerate(CASES.items()):
        if report.wants(name):
            check_case(trainer, report, os.path.join(scratch, str(n)), name, model_type, changes)
