"""transformers' own GPT-J, GPT-NeoX, Llama, Mistral and Qwen2 with tiny weights: what the decoder bodies
of longrun-trainer are compared with.

Developer-only; the tests need only the small files it wrote:

    python3 tools/oracle/bodies_oracle.py tests/golden/bodies

writes for each case CASE/config.json, as transformers saves it, and CASE/expected.safetensors with
`tokens`, `logits`, and the gradient of the mean next-token loss for a few parameters under
"grad.NAME". The weights are not stored: they are those of gpt2_oracle.weight(), by name. One case,
`sharded`, is a whole folder as save_pretrained writes it above its max_shard_size.

transformers keeps norms, rotary angles and some softmaxes in float32 whatever the model's type; here
they are computed in float64, so that fp64 can be compared beyond eight digits: float32 is made
another name of float64, and Tensor.float() of Tensor.double().
"""
import json
import os
import sys

import torch

torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)

import transformers  # noqa: E402  after the types are what they shall be
from safetensors.torch import save_file  # noqa: E402

from gpt2_oracle import weight  # noqa: E402

LLAMA = {"vocab_size": 29, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
         "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 32}
NEOX = {"vocab_size": 29, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
        "num_attention_heads": 3, "max_position_embeddings": 32, "rotary_pct": 0.25}
GPTJ = {"vocab_size": 29, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32,
        "rotary_dim": 6}
# model_type and what differs from its family's configuration. Heads are no power of two, and share
# keys in groups; texts have 17 tokens.
CASES = {
    "gptj": ("gptj", GPTJ),
    "gptj_tied": ("gptj", GPTJ | {"n_inner": 18, "rotary_dim": 2, "tie_word_embeddings": True}),
    "gpt_neox": ("gpt_neox", NEOX),
    "gpt_neox_sequential": ("gpt_neox", NEOX | {
        "use_parallel_residual": False, "attention_bias": False, "rotary_pct": 1.0,
        "rotary_emb_base": 500, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
    "llama": ("llama", LLAMA),
    "llama_biases": ("llama", LLAMA | {
        "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 6,
        "num_key_value_heads": 3, "rope_theta": 500000.0, "rms_norm_eps": 1e-3}),
    "mistral": ("mistral", LLAMA | {"sliding_window": 5, "num_key_value_heads": 3}),
    "mistral_no_window": ("mistral", LLAMA | {"sliding_window": None, "hidden_act": "gelu"}),
    "qwen2": ("qwen2", LLAMA | {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen2_window": ("qwen2", LLAMA | {
        "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}),
    # By transformers 4.57: 4.46 masks every layer by the window.
    "qwen2_layers": ("qwen2", LLAMA | {
        "use_sliding_window": True, "sliding_window": 4, "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    # Its pad_token_id is 0 where the file does not say.
    "baichuan": ("baichuan", LLAMA | {"num_key_value_heads": 6, "pad_token_id": 0}),
}
# Baichuan-7B's keys; transformers has no model of it.
BAICHUAN_KEYS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                 "num_attention_heads", "max_position_embeddings")
# Each rope_scaling; half of a text lies beyond the model's length. Texts are longer than the length
# that longrope's lists change at, since transformers 4.46 takes the long list for all texts.
SCALED = LLAMA | {"max_position_embeddings": 8, "num_hidden_layers": 1}
SCALINGS = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 2.0, "beta_slow": 0.25},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    "longrope": {"rope_type": "longrope", "factor": 4.0, "short_factor": [1.0, 1.25, 1.5, 2.0],
                 "long_factor": [1.0, 1.5, 2.5, 3.5]},
}
CASES |= {f"llama_{name}": ("llama", SCALED | {"head_dim": 8, "rope_scaling": scaling})
          for name, scaling in SCALINGS.items()}
CASES["gpt_neox_yarn"] = ("gpt_neox", NEOX | {
    "rotary_pct": 0.75, "max_position_embeddings": 32,
    "rope_scaling": {"type": "yarn", "factor": 2.0, "attention_factor": 1.3}})
GRADIENTS = ("embed_in.weight", "embed_tokens.weight", "wte.weight", "lm_head.bias",
             "1.attention.query_key_value.bias", "1.self_attn.W_pack.weight", "0.self_attn.k_proj.weight",
             "1.self_attn.v_proj.bias", "0.attn.k_proj.weight", "0.mlp.gate_proj.weight",
             "1.mlp.fc_in.bias", "1.mlp.dense_h_to_4h.bias", "0.input_layernorm.weight",
             "1.post_attention_layernorm.weight", "0.ln_1.weight")


def model_of(model_type, changes):
    if model_type == "baichuan":
        return as_baichuan(model_of("llama", changes))
    config = transformers.CONFIG_MAPPING[model_type](**changes, attn_implementation="eager")
    return transformers.AutoModelForCausalLM.from_config(config).double().eval()


def with_formula_weights(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # gpt2_oracle's offset of 1 is that of names with ".ln_".
            offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(weight(name, parameter.shape) + offset)
    return model


class WPack(torch.nn.Module):
    """Baichuan-7B's product of queries, keys and values, as its modeling_baichuan.py cuts it; each of
    Llama's three products asks for its part."""

    def __init__(self, width):
        super().__init__()
        self.W_pack = torch.nn.Linear(width, 3 * width, bias=False)

    def part(self, n):
        return lambda x: self.W_pack(x).unflatten(-1, (3, x.shape[-1]))[..., n, :]


def as_baichuan(model):
    """transformers' Llama with W_pack instead of q_proj, k_proj, v_proj."""
    for layer in model.model.layers:
        attention = layer.self_attn
        pack = WPack(attention.q_proj.in_features)
        for n, name in enumerate(("q_proj", "k_proj", "v_proj")):
            delattr(attention, name)
            attention.__dict__[name] = pack.part(n)
        attention.W_pack = pack.W_pack
    return model


def expected(model, tokens):
    logits = model(tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]),
                                             tokens[:, 1:].reshape(-1))
    loss.backward()
    tensors = {"tokens": tokens, "logits": logits.detach()}
    for name, parameter in model.named_parameters():
        if name.endswith(GRADIENTS):
            tensors["grad." + name] = parameter.grad
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def write_config(model, folder, model_type):
    """As save_pretrained, which would write the patched type's name."""
    os.makedirs(folder, exist_ok=True)
    config = json.loads(model.config.to_json_string(use_diff=False))
    if model_type == "baichuan":
        config = {key: config[key] for key in BAICHUAN_KEYS} | {"model_type": model_type}
    config["torch_dtype"] = "float32"
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def main(folder):
    tokens = torch.tensor([[(3 * t * t + 5 * b + t) % 29 for t in range(17)] for b in range(2)])
    for case, (model_type, changes) in CASES.items():
        model = with_formula_weights(model_of(model_type, changes))
        write_config(model, os.path.join(folder, case), model_type)
        save_file(expected(model, tokens), os.path.join(folder, case, "expected.safetensors"))
    model = with_formula_weights(model_of("llama", LLAMA | {"num_hidden_layers": 1}))
    sharded = os.path.join(folder, "sharded")
    model.save_pretrained(sharded, max_shard_size="20KB")
    write_config(model, sharded, "llama")
    save_file(expected(model, tokens), os.path.join(sharded, "expected.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
