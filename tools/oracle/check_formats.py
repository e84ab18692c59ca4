"""Folders as transformers and safetensors write them, today and in the past: each must load, and
give the logits of the original."""
import json
import os

import torch
from safetensors.torch import save_file, save_model
from transformers import GPT2Model

from check_forward import BASE, ask, at, tokens_of, worst, write_folder
from originals import Original

# What config.json of well-known checkpoints holds beside GPT-2's own keys.
CONFIG_EXTRAS = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_ctx": 40, "summary_activation": None,
             "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
             "summary_type": "cls_index", "summary_use_proj": True, "embd_pdrop": 0.1,
             "attn_pdrop": 0.1, "resid_pdrop": 0.1, "initializer_range": 0.02,
             "bos_token_id": 50256, "eos_token_id": 50256,
             "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}},
    "gpt2-medium": {"n_special": 0, "predict_special_tokens": True, "n_ctx": 40},
    "gpt2-large, older": {"output_past": True, "n_special": 0},
    "distilgpt2": {"_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
    "tokens": {"pad_token_id": 0, "cls_token_id": None, "sep_token_id": None,
               "mask_token_id": None, "unk_token_id": 3},
    "cpu and tpu": {"xla_device": None, "use_cache": True, "gradient_checkpointing": False,
                    "torch_dtype": "float32", "dtype": "float32", "transformers_version": "5.0.0"},
}


def legacy_buffers(config, mask_type, prefix="transformer."):
    n = config["n_positions"]
    mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n).to(mask_type)
    buffers = {}
    for layer in range(config["n_layer"]):
        buffers[f"{prefix}h.{layer}.attn.bias"] = mask.clone()
        buffers[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return buffers


def check(trainer, report, scratch):
    n = 0

    def case(name, original, write, config=None):
        nonlocal n
        if not report.wants(name):
            return
        n += 1
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        write(folder)
        tokens = tokens_of(config or BASE, 2, 17)
        with torch.no_grad():
            expected = {"logits": original.logits(tokens)}
        given = ask(trainer, "forward", folder, tokens, "--dtype", "fp64")
        report.difference(name, worst(given, expected), 1e-10)

    original = Original(BASE)
    state = original.state()
    bare = {name.removeprefix("transformer."): value for name, value in state.items()}
    single = Original(BASE).net.float()
    case("GPT2LMHeadModel.save_pretrained", original, single.save_pretrained)

    def save_base(folder):
        model = GPT2Model(single.config).float()
        model.load_state_dict(single.transformer.state_dict())
        model.save_pretrained(folder)
    case("GPT2Model.save_pretrained", original, save_base)

    untied_config = BASE | {"tie_word_embeddings": False}
    untied = Original(untied_config)
    case("GPT2LMHeadModel.save_pretrained, untied", untied,
         lambda folder: Original(untied_config).net.float().save_pretrained(folder))

    def save_by_safetensors(folder):
        write_folder(folder, BASE, state)
        save_model(single, os.path.join(folder, "model.safetensors"))
    case("safetensors.save_model: the tied pair under lm_head.weight", original,
         save_by_safetensors)

    for kind in (torch.float16, torch.bfloat16):
        rounded = Original(BASE)
        rounded.load({name: value.to(kind).double() for name, value in state.items()})
        case(f"save_pretrained in {kind}", rounded,
             lambda folder, net=rounded.net, kind=kind: Original(BASE).load(
                 dict(net.named_parameters())).net.to(kind).save_pretrained(folder))
    case("weights in float64", original, lambda folder: write_folder(
        folder, BASE, {name: value.double() for name, value in state.items()}))
    case("lm_head.weight beside a tied wte", original, lambda folder: write_folder(
        folder, BASE, state | {"lm_head.weight": state["transformer.wte.weight"].clone()}))
    for kind in (torch.float32, torch.bool, torch.uint8):
        case(f"attn.bias in {kind}, masked_bias", original, lambda folder, kind=kind: write_folder(
            folder, BASE, state | legacy_buffers(BASE, kind)))
        case(f"attn.bias in {kind}, without prefix", original,
             lambda folder, kind=kind: write_folder(
                 folder, BASE, bare | legacy_buffers(BASE, kind, "")))
    for name, extras in CONFIG_EXTRAS.items():
        case(f"config.json of {name}", original,
             lambda folder, extras=extras: write_folder(folder, BASE | extras, state))

    def with_metadata(folder):
        write_folder(folder, BASE, state)
        save_file(state, os.path.join(folder, "model.safetensors"),
                  metadata={"format": "pt", "note": "ä \" \\ \n"})
    case("metadata of several kinds", original, with_metadata)

    cable_config = BASE | at("cable")
    cable = Original(cable_config)
    case("cable without prefix", cable, lambda folder: write_folder(
        folder, cable_config,
        {name.removeprefix("transformer."): value for name, value in cable.state().items()}))

    def pretty(folder):
        write_folder(folder, BASE, state)
        with open(os.path.join(folder, "config.json"), "w") as file:
            file.write("\n" + json.dumps(BASE, indent=8) + "\n\n")
    case("config.json with space around it", original, pretty)
    case("n_ctx instead of n_positions", original, lambda folder: write_folder(
        folder, {k: v for k, v in BASE.items() if k != "n_positions"} | {"n_ctx": 40}, state))
