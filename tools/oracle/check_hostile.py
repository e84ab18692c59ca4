"""What is wrong with a folder or with the tokens must be said: the right exit code, and a message
with the thing, the value and the remedy. Never a signal, never "crashed" (70), no output file."""
import json
import os
import struct

import torch
from safetensors.torch import save_file

from check_forward import BASE, at, tokens_of, write_folder
from originals import Original

USAGE, DATA, STORAGE, INVALID = 64, 65, 74, 78


def check(trainer, report, scratch):
    n = 0
    state = Original(BASE).state()
    cable = BASE | at("cable")
    cable_state = Original(cable).state()
    good = tokens_of(BASE, 2, 9)

    def case(name, code, words, config=None, tensors=None, tokens=None, damage=None, more=(),
             verb="forward", output=None):
        nonlocal n
        if not report.wants(name):
            return
        n += 1
        folder = write_folder(os.path.join(scratch, str(n)), BASE if config is None else config,
                              state if tensors is None else tensors)
        given, output = os.path.join(folder, "tokens"), output or os.path.join(folder, "out")
        save_file({"tokens": good} if tokens is None else tokens, given)
        if damage:
            damage(folder)
        done = trainer.run(verb, "--model", folder, "--tokens", given, "--output", output, *more)
        message = done.stderr.strip()
        lacking = [word for word in words if word not in message]
        one_line = message.count("\n") == 0 or code == USAGE
        passed = (done.returncode == code and not lacking and one_line
                  and not os.path.exists(output))
        text = f"exit {done.returncode}" + ("" if passed else f", expected {code} with {words}")
        report.line(name, passed, f"{text}: {message.replace(scratch, '')[:230]}")

    def without(name, tensors=state):
        return {key: value for key, value in tensors.items() if key != name}

    def reshaped(name, shape):
        return state | {name: torch.zeros(shape)}

    def rewrite(file, change):
        def damage(folder):
            path = os.path.join(folder, file)
            with open(path, "rb") as opened:
                data = opened.read()
            with open(path, "wb") as opened:
                opened.write(change(data))
        return damage

    def header(change):
        """The safetensors header, changed as JSON, the data kept."""
        def damaged(data):
            size = struct.unpack("<Q", data[:8])[0]
            parsed = json.loads(data[8:8 + size])
            text = change(parsed)
            text = (text if isinstance(text, str) else json.dumps(parsed)).encode()
            return struct.pack("<Q", len(text)) + text + data[8 + size:]
        return rewrite("model.safetensors", damaged)

    wte, attn = "transformer.wte.weight", "transformer.h.1.attn.c_attn.weight"
    for name in (wte, "transformer.wpe.weight", attn, "transformer.ln_f.bias"):
        case(f"missing {name}", DATA, [name, "missing", "model.safetensors"], tensors=without(name))
    case("missing lm_head.weight, untied", DATA, ["lm_head.weight", "missing"],
         config=BASE | {"tie_word_embeddings": False})
    case("missing attn.position.bias", DATA, ["transformer.h.2.attn.position.bias"], config=cable,
         tensors=without("transformer.h.2.attn.position.bias", cable_state))
    case("surplus attn.position", DATA, ["transformer.h.0.attn.position.weight", "learned"],
         tensors=state | {"transformer.h.0.attn.position.weight": torch.zeros(4, 24)})
    case("surplus tensor", DATA, ["transformer.h.7.ln_1.bias"],
         tensors=state | {"transformer.h.7.ln_1.bias": torch.zeros(24)})
    case("surplus wpe of cable", DATA, ["transformer.wpe.weight", "cable"], config=cable,
         tensors=cable_state | {"transformer.wpe.weight": torch.zeros(40, 24)})
    case("both prefixes", DATA, [wte, "twice"], tensors=state | {"wte.weight": state[wte].clone()})
    case("another lm_head, tied", DATA, ["lm_head.weight", "tie_word_embeddings"],
         tensors=state | {"lm_head.weight": state[wte] + 1})
    case("transposed linear", DATA, [attn, "[72, 24]", "[24, 72]"],
         tensors=reshaped(attn, (72, 24)))
    case("wte of other rows", DATA, [wte, "[36, 24]", "[37, 24]"],
         tensors=reshaped(wte, (36, 24)))
    case("a scalar for a vector", DATA, ["transformer.ln_f.bias", "[]"],
         tensors=reshaped("transformer.ln_f.bias", ()))
    case("integer weights", DATA, ["transformer.ln_f.bias", "I64"],
         tensors=state | {"transformer.ln_f.bias": torch.zeros(24, dtype=torch.int64)})
    case("weights in an 8-bit float", DATA, ["F8_E4M3"],
         tensors=state | {"transformer.ln_f.bias": torch.zeros(24).to(torch.float8_e4m3fn)})

    for key, value, words in (
            ("n_heads", 4, ["n_heads", "n_head"]), ("rope_theta", 1e4, ["rope_theta"]),
            ("hidden_size", 48, ["hidden_size"]), ("sliding_window", 8, ["sliding_window"]),
            ("model_type", "opt", ["model_type", "opt"]), ("model_type", 3, ["model_type"]),
            ("activation_function", "sin", ["activation_function", "sin"]),
            ("activation_function", 1, ["activation_function"]),
            ("activation_function", "mish", ["activation_function", "mish", "gelu_new"]),
            ("activation_function", "gelu_10", ["activation_function", "gelu_10"]),
            ("add_cross_attention", True, ["add_cross_attention"]),
            ("is_encoder_decoder", True, ["is_encoder_decoder"]),
            ("pruned_heads", {"0": [1]}, ["pruned_heads"]),
            ("quantization_config", {"bits": 4}, ["quantization_config"]),
            ("n_head", 5, ["24", "5"]), ("n_head", 0, ["n_head"]), ("n_head", -4, ["n_head"]),
            ("n_layer", 0, ["n_layer"]), ("n_embd", 2**40, ["n_embd"]),
            ("n_layer", 1.5, ["n_layer"]),
            ("n_layer", "3", ["n_layer"]), ("vocab_size", 0, ["vocab_size"]),
            ("vocab_size", 2**63, ["vocab_size"]), ("n_inner", 0, ["n_inner"]),
            ("n_inner", -1, ["n_inner"]), ("n_positions", 0, ["n_positions"]),
            ("layer_norm_epsilon", 0, ["layer_norm_epsilon"]),
            ("layer_norm_epsilon", "small", ["layer_norm_epsilon"]),
            ("tie_word_embeddings", "yes", ["tie_word_embeddings"]),
            ("scale_attn_weights", 0, ["scale_attn_weights"]), ("causal", "no", ["causal"]),
            ("causal", 1, ["causal"]),
            ("position", 7, ["position"]), ("position", {}, ["position", "method"]),
            ("position", [], ["position"]), ("position", "ropes", ["ropes", "rope"]),
            ("position", {"method": "dape"}, ["position.method", "dape"]),
            ("position", {"method": "rope", "theta": 1}, ["position.theta"]),
            ("position", {"method": "rope", "base": "big"}, ["position.base"]),
            ("position", {"method": "rope", "base": -1}, ["position.base"]),
            ("position", {"method": "rope", "partial": 0}, ["position.partial"]),
            ("position", {"method": "rope", "partial": 0.5}, ["position.partial", "3"]),
            ("position", {"method": "rope", "layout": "pairs"}, ["position.layout", "pairs"]),
            ("position", {"method": "alibi", "variant": "symmetric"}, ["symmetric", "causal"]),
            ("position", {"method": "cable", "variant": "weighted"}, ["weighted"]),
            ("position", {"method": "cable", "variant": "bidirectional"}, ["causal"]),
            ("position", {"method": "learned", "beyond": 3}, ["position.beyond"])):
        case(f"config.json: {key} {value!r}", INVALID, ["config.json", *words],
             config=BASE | {key: value})
    case("cable without a mask", INVALID, ["cable", "causal"], config=cable | {"causal": False},
         tensors=cable_state)
    case("vaswani of odd width", INVALID, ["vaswani", "fairseq"],
         config=BASE | at("sinusoidal") | {"n_embd": 21, "n_head": 3})

    case("no folder", DATA, ["config.json"], damage=lambda folder: os.rename(
        os.path.join(folder, "config.json"), os.path.join(folder, "config")))
    case("no model.safetensors", DATA, ["model.safetensors"], damage=lambda folder: os.unlink(
        os.path.join(folder, "model.safetensors")))

    def shard(folder):
        os.rename(os.path.join(folder, "model.safetensors"),
                  os.path.join(folder, "model-00001-of-00001.safetensors"))
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
            json.dump({"weight_map": {}}, file)
    case("shards that the index lacks", DATA, ["model.safetensors.index.json", "missing"],
         damage=shard)
    for what, change in (("empty", lambda data: b""), ("truncated", lambda data: data[:-100]),
                         ("no JSON", lambda data: b"{\"n_head\": "),
                         ("a list", lambda data: b"[1]"), ("twice", lambda data: data + data),
                         ("NaN", lambda data: data[:-1] + b", \"n_inner\": NaN}"),
                         ("a key twice", lambda data: data[:-1] + b", \"n_head\": 4}"),
                         ("bytes", lambda data: b"\xff\xfe\x00")):
        case(f"config.json {what}", INVALID, ["config.json"],
             damage=rewrite("config.json", change))
    for what, change in (("empty", lambda data: b""), ("of 7 bytes", lambda data: data[:7]),
                         ("cut in the header", lambda data: data[:200]),
                         ("cut in the data", lambda data: data[:-5]),
                         ("with bytes behind", lambda data: data + b"\0" * 8),
                         ("of a huge header", lambda data: b"\xff" * 8 + data[8:]),
                         ("of garbage", lambda data: b"PK\x03\x04" + b"\x01" * 400)):
        case(f"model.safetensors {what}", DATA, ["model.safetensors"],
             damage=rewrite("model.safetensors", change))
    case("header: a list", DATA, ["model.safetensors"], damage=header(lambda h: "[]"))
    case("header: deep", DATA, ["model.safetensors"], damage=header(lambda h: "[" * 50000))
    case("header: negative dimension", DATA, [wte],
         damage=header(lambda h: h[wte].update(shape=[-37, -24])))
    case("header: overflowing shape", DATA, [wte],
         damage=header(lambda h: h[wte].update(shape=[2**62, 2**62])))
    case("header: offsets beyond", DATA, [wte],
         damage=header(lambda h: h[wte].update(data_offsets=[0, 2**60])))

    def no_dtype(h):
        del h[wte]["dtype"]
    case("header: no dtype", DATA, [wte, "dtype"], damage=header(no_dtype))

    def overlap(h):
        h[wte]["data_offsets"] = [x - 4 for x in h[wte]["data_offsets"]]
    case("header: overlap", DATA, [wte], damage=header(overlap))

    for what, ids, words in (
            ("negative id", [[1, -1]], ["[0][1]", "-1", "36"]), ("id 37", [[0, 1], [2, 37]],
                                                                ["[1][1]", "37", "36"]),
            ("huge id", [[2**62]], ["36"])):
        case(f"tokens: {what}", INVALID, ["tokens", *words], tokens={"tokens": torch.tensor(ids)})
    for what, tensor in (("int32", good.int()), ("float", good.float()), ("bool", good > 3),
                         ("rank 1", good[0].clone()), ("rank 3", good[None].clone()),
                         ("rank 0", torch.tensor(3)), ("no rows", good[:0].clone()),
                         ("no columns", good[:, :0].clone())):
        case(f"tokens: {what}", INVALID, ["tokens"], tokens={"tokens": tensor})
    case("tokens: under another name", INVALID, ["tokens"], tokens={"input_ids": good})
    case("tokens: no file", DATA, ["tokens"],
         damage=lambda folder: os.unlink(os.path.join(folder, "tokens")))
    case("tokens: truncated", DATA, ["tokens"], damage=rewrite("tokens", lambda data: data[:-9]))
    case("tokens: beyond the table", INVALID, ["41", "40", "learned"],
         tokens={"tokens": tokens_of(BASE, 1, 41)})
    case("grad of one token", INVALID, ["at least 2"], verb="grad",
         tokens={"tokens": good[:, :1].clone()})
    case("--dtype fp8", INVALID, ["fp8", "fp32"], more=("--dtype", "fp8"))
    case("--attention magic", INVALID, ["magic", "reference"], more=("--attention", "magic"))
    case("--attention torch, cable", INVALID, ["torch", "cable", "reference"], config=cable,
         tensors=cable_state, more=("--attention", "torch"))
    case("--device gpu9", INVALID, ["gpu9"], more=("--device", "gpu9"))
    case("--threads 0", USAGE, ["--threads"], more=("--threads", "0"))
    case("--output in no folder", STORAGE, ["nowhere"],
         output=os.path.join(scratch, "nowhere", "out"))
