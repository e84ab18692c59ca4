"""modeling_longrun.py beside longrun-trainer: random gpt2 bodies with every position method, loaded by
transformers as an export's reader loads them, give the trainer's logits.

Developer-only. Needs torch, transformers, safetensors:

    python3 tools/oracle/check_modeling.py build/release/bin/longrun-trainer [FOLDER ...]

Prints the largest difference of a logit for each case and fails above 2e-5 (both in fp32). FOLDER: what
`longrun export` wrote, for any model; it is compared as it is, in place of the random ones.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
MODELING = os.path.join(HERE, "..", "..", "model", "hugging_face", "modeling_longrun.py")
TOLERANCE = 2e-5
CASES = [
    ({"method": "learned", "beyond": "clamp"}, {}),
    ({"method": "learned", "beyond": "wrap"}, {}),
    ({"method": "none"}, {}),
    ({"method": "sinusoidal", "layout": "vaswani", "multiplier": 1.0}, {}),
    ({"method": "sinusoidal", "layout": "fairseq", "multiplier": 8.0}, {}),
    ({"method": "rope", "layout": "half", "base": 10000.0, "partial": 1.0}, {}),
    ({"method": "rope", "layout": "interleaved", "base": 500.0, "partial": 0.5}, {}),
    ({"method": "xpos", "scale_base": 64.0}, {}),
    ({"method": "alibi", "variant": "press", "slopes": "nearest_power"}, {}),
    ({"method": "alibi", "variant": "press", "slopes": "geometric"}, {"scale_attn_by_inverse_layer_idx": True}),
    ({"method": "alibi", "variant": "symmetric", "slopes": "nearest_power"}, {"causal": False}),
    ({"method": "alibi", "variant": "jaketae", "slopes": "geometric"}, {}),
    ({"method": "cable", "variant": "official"}, {}),
    ({"method": "cable", "variant": "scaled"}, {"scale_attn_weights": False}),
    ({"method": "cable", "variant": "augmented"}, {"activation_function": "quick_gelu"}),
    ({"method": "cable", "variant": "bidirectional"}, {"causal": False}),
    ({"method": "fox"}, {}),
    ({"method": "kerple", "variant": "log", "share_layers": False}, {}),
    ({"method": "kerple", "variant": "power", "share_layers": True}, {}),
    ({"method": "t5", "buckets": 8, "max_distance": 20, "scale": 0.0, "share_layers": True}, {}),
    ({"method": "t5", "buckets": 8, "max_distance": 20, "scale": 1.0, "share_layers": False}, {"causal": False}),
    ({"method": "fire", "width": 8, "init_length": 16, "share_layers": False}, {}),
    ({"method": "fire", "width": 8, "init_length": 64, "share_layers": True}, {}),
    ({"method": "cope", "max_positions": 6}, {}),
]
BASE = {"model_type": "longrun", "architecture": "gpt2", "vocab_size": 61, "n_positions": 24, "n_embd": 48,
        "n_layer": 3, "n_head": 6, "n_inner": 96, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
        "auto_map": {"AutoConfig": "modeling_longrun.LongrunConfig",
                     "AutoModelForCausalLM": "modeling_longrun.LongrunForCausalLM"}}


def randomised(folder, generator):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    net = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    state = {}
    for name, tensor in net.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator) * 0.2
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight", "position.p", "position.a", "position.c")):
            noise = noise.abs() * 0.3 + 0.8
        if name != "lm_head.weight":
            state[name] = noise
    return state


def difference(trainer, folder, n_tokens, generator):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    tokens = torch.randint(0, config.vocab_size, (2, n_tokens), generator=generator)
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = os.path.join(scratch, "tokens"), os.path.join(scratch, "logits")
        save_file({"tokens": tokens}, given)
        subprocess.run([trainer, "forward", "--model", folder, "--tokens", given, "--output", answer], check=True)
        ours = load_file(answer)["logits"]
    net = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).float().eval()
    with torch.no_grad():
        theirs = net(tokens).logits
    return (ours - theirs).abs().max().item()


def random_folder(folder, position, more, generator):
    shutil.copy(MODELING, folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({**BASE, **more, "position": position}, f)
    save_file(randomised(folder, generator), os.path.join(folder, "model.safetensors"), {"format": "pt"})


def main():
    trainer, *folders = sys.argv[1:]
    generator = torch.Generator().manual_seed(1)
    differences = []

    def tell(here, name):
        differences.append(here)
        print(f"{here:.1e}  {name}", flush=True)

    for folder in folders:
        # A learned table may end with the train length.
        tell(difference(trainer, folder, 24, generator), folder)
    for position, more in CASES if not folders else ():
        with tempfile.TemporaryDirectory() as folder:
            random_folder(folder, position, more, generator)
            tell(difference(trainer, folder, 40, generator),
                 f"{json.dumps(position)} {json.dumps(more) if more else ''}")
    failed = [here for here in differences if not here <= TOLERANCE]  # NaN, too
    print(f"{len(differences)} cases, {len(failed)} above {TOLERANCE}")
    if failed:
        sys.exit(1)


main()
