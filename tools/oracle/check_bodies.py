"""Logits of `longrun-trainer forward` for GPT-J, GPT-NeoX, Llama, Mistral and Qwen2 folders as
transformers saves them, in several files and with random weights, against transformers itself in
float32: other sizes, heads, biases, windows, lengths and rope_scaling than the golden cases have.
(bodies_oracle.py, which makes those, has transformers compute in float64.)
"""
import os

import torch
import transformers
from safetensors.torch import load_file, save_file

LLAMA = {"vocab_size": 61, "hidden_size": 40, "intermediate_size": 52, "num_hidden_layers": 3,
         "num_attention_heads": 10, "num_key_value_heads": 5, "max_position_embeddings": 16,
         "initializer_range": 0.2}
NEOX = {"vocab_size": 61, "hidden_size": 40, "intermediate_size": 52, "num_hidden_layers": 3,
        "num_attention_heads": 5, "max_position_embeddings": 64, "initializer_range": 0.2}
GPTJ = {"vocab_size": 61, "n_embd": 40, "n_layer": 3, "n_head": 5, "n_positions": 64,
        "rotary_dim": 4, "initializer_range": 0.2}
SCALINGS = {
    "linear 2.5": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "dynamic factor 1": {"rope_type": "dynamic", "factor": 1.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0},
    "yarn, betas": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 4.0, "beta_slow": 0.5,
                    "attention_factor": 0.9},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 8},
    "longrope": {"rope_type": "longrope", "factor": 4.0, "short_factor": [1.0, 1.5],
                 "long_factor": [1.0, 3.0]},
}
CASES = {
    "llama": ("llama", LLAMA),
    "llama heads of 6": ("llama", LLAMA | {"head_dim": 6, "num_key_value_heads": 2}),
    "llama biases, tied": ("llama", LLAMA | {"attention_bias": True, "mlp_bias": True,
                                             "tie_word_embeddings": True}),
    "llama relu": ("llama", LLAMA | {"hidden_act": "relu", "num_key_value_heads": 1}),
    "llama one head": ("llama", LLAMA | {"num_attention_heads": 1, "num_key_value_heads": 1}),
    "mistral window 7": ("mistral", LLAMA | {"sliding_window": 7}),
    "mistral window 1": ("mistral", LLAMA | {"sliding_window": 1}),
    "mistral window 300": ("mistral", LLAMA | {"sliding_window": 300}),
    "mistral no window": ("mistral", LLAMA | {"sliding_window": None, "num_key_value_heads": None}),
    "qwen2": ("qwen2", LLAMA | {"rope_theta": 1e6}),
    "qwen2 tied, window": ("qwen2", LLAMA | {"tie_word_embeddings": True, "sliding_window": 9,
                                             "use_sliding_window": True, "max_window_layers": 0}),
    "gpt_neox quarter": ("gpt_neox", NEOX | {"rotary_pct": 0.25}),
    "gpt_neox odd": ("gpt_neox", NEOX | {"rotary_pct": 0.4}),
    "gpt_neox all": ("gpt_neox", NEOX | {"rotary_pct": 1.0, "rotary_emb_base": 777}),
    "gpt_neox sequential": ("gpt_neox", NEOX | {"use_parallel_residual": False,
                                                "attention_bias": False}),
    "gptj": ("gptj", GPTJ),
    "gptj all channels": ("gptj", GPTJ | {"rotary_dim": 8, "n_inner": 33}),
    "gptj tied": ("gptj", GPTJ | {"tie_word_embeddings": True}),
}
CASES |= {f"llama {name}": ("llama", LLAMA | {"rope_scaling": scaling})
          for name, scaling in SCALINGS.items()}
CASES |= {f"qwen2 {name}": ("qwen2", LLAMA | {"rope_scaling": SCALINGS[name]})
          for name in ("yarn", "dynamic")}
CASES |= {f"gpt_neox {name}": ("gpt_neox", NEOX | {"rotary_pct": 0.5, "rope_scaling":
                                                   SCALINGS[name]})
          for name in ("linear 2.5", "yarn", "longrope")}
# transformers 4.46 takes longrope's long list whatever the text's length.
LENGTHS = {"longrope": (65, 70)}


def model_of(model_type, changes):
    config = transformers.CONFIG_MAPPING[model_type](**changes, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(noise + (1.0 if "norm" in name or ".ln_" in name else 0.0)
                            if name.endswith("weight") or parameter.dim() > 1 else noise)
    return model.eval()


def forward(trainer, folder, tokens, *more):
    given, output = os.path.join(folder, "tokens"), os.path.join(folder, "out")
    save_file({"tokens": tokens.contiguous()}, given)
    done = trainer.run("forward", "--model", folder, "--tokens", given, "--output", output, *more)
    if done.returncode != 0:
        print("    ", done.stderr.strip())
        return None
    return load_file(output)["logits"]


def difference(found, expected):
    return float("inf") if found is None else (found.double() - expected).abs().max().item()


def check_case(trainer, report, folder, name, model_type, changes):
    model = model_of(model_type, changes)
    model.save_pretrained(folder, max_shard_size="24KB")
    single = double = 0.0
    generator = torch.Generator().manual_seed(5)
    lengths = next((some for word, some in LENGTHS.items() if word in name), (1, 13, 31))
    for length in lengths:
        tokens = torch.randint(0, 61, (2, length), generator=generator)
        with torch.no_grad():
            # A model of its own for each length: "dynamic" remembers the longest text.
            expected = model_of(model_type, changes)(tokens, use_cache=False).logits.double()
        scale = max(1.0, expected.abs().max().item())
        single = max(single, difference(forward(trainer, folder, tokens), expected) / scale)
        double = max(double, difference(forward(trainer, folder, tokens, "--dtype", "fp64"),
                                        expected) / scale)
    report.difference(f"{name}: fp32 beside transformers' fp32 (relative)", single, 2e-5)
    report.difference(f"{name}: fp64 beside transformers' fp32 (relative)", double, 2e-5)


def check(trainer, report, scratch):
    for n, (name, (model_type, changes)) in enumerate(CASES.items()):
        if report.wants(name):
            check_case(trainer, report, os.path.join(scratch, str(n)), name, model_type, changes)
