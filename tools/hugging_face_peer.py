"""GPT-2 as the `transformers` package has it, with eager attention: the peer of tools/bench.py.

  hugging_face_peer.py make FOLDER --shape LAYERS,HEADS,WIDTH --length N
  hugging_face_peer.py train FOLDER --tokens FILE --steps N
  hugging_face_peer.py evaluate FOLDER --tokens FILE --windows N

`make` writes a folder of first weights, from which `longrun-trainer train --init` begins as well. `train`
takes one sequence of the model's length a step, in the order of the file, and the recipe of
sweeps/quickstart.yaml but for the rate, which grows to --lr over these steps: torch's fused AdamW,
clipped gradients, no dropout. `evaluate` scores windows of that length, 4096 tokens in a call. FILE holds
bytes of text: each is a token, and 256 ends it. One thread; --dtype float64 shows what rounding does to
fp32. Prints one JSON line:

  {"cpu_s", "losses"}     processor seconds of the steps, and the loss of each; of an evaluation one loss
"""
import argparse
import json
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
import transformers

from gpu_models import TRAIN
from torch_peer import EVALUATION_TOKENS, optimizer_of

VOCABULARY = 50257  # GPT-2's, so that the head costs what it costs there


def make(args):
    n_layer, n_head, width = map(int, args.shape.split(","))
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=args.length, n_embd=width, n_layer=n_layer, n_head=n_head,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    transformers.GPT2LMHeadModel(config).save_pretrained(args.folder)
    return {}


def rows_of(tokens, length, numbers):
    starts = length * torch.tensor(numbers).unsqueeze(1)
    return tokens[starts + torch.arange(length + 1)]


def loss_of(model, rows, reduction="mean"):
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction=reduction)


def train(model, tokens, length, args):
    optimizer = optimizer_of(model)
    n_windows = (len(tokens) - 1) // length
    model.train()
    losses = []
    begin = time.process_time()
    for step in range(args.steps):
        loss = loss_of(model, rows_of(tokens, length, [step % n_windows]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = args.lr * (step + 1) / args.steps
        torch.nn.utils.clip_grad_norm_(model.parameters(), TRAIN["optimizer"]["grad_clip"])
        optimizer.step()
        losses.append(loss.item())
    return {"cpu_s": time.process_time() - begin, "losses": losses}


@torch.no_grad()
def evaluate(model, tokens, length, args):
    model.eval()
    per_call = max(1, EVALUATION_TOKENS // length)
    total, begin = 0.0, time.process_time()
    for first in range(0, args.windows, per_call):
        numbers = range(first, min(first + per_call, args.windows))
        total += loss_of(model, rows_of(tokens, length, list(numbers)), reduction="sum").item()
    return {"cpu_s": time.process_time() - begin, "losses": [total / (args.windows * length)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "train", "evaluate"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape")
    parser.add_argument("--length", type=int)
    parser.add_argument("--tokens", type=pathlib.Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--windows", type=int)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    if args.what == "make":
        print(json.dumps(make(args)))
        return 0
    tokens = torch.tensor(list(args.tokens.read_bytes()) + [256])
    model = transformers.GPT2LMHeadModel.from_pretrained(args.folder, attn_implementation="eager",
                                                         dtype=getattr(torch, args.dtype))
    length = model.config.n_positions
    found = {"train": train, "evaluate": evaluate}[args.what](model, tokens, length, args)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
