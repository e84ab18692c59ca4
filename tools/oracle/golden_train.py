"""Writes tests/golden/train: a text, and the losses of 50 steps of check_train.py's plain PyTorch loop
on it, from the weights that longrun-trainer starts from.

    python3 tools/oracle/golden_train.py tests/golden/train
"""
import json
import os
import sys

import torch
import transformers

import check_train

WORDS = ("the sea was calm and a ship came in from far away with sails of white linen bread wine").split()


def text():
    state, words = 1, []
    for i in range(3000):
        state = check_train.sm64(state)
        words.append(WORDS[(i * 3 + state % 4) % len(WORDS)])
    return " ".join(words)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    data = text().encode()
    with open(os.path.join(folder, "text.txt"), "wb") as file:
        file.write(data)
    tokens = torch.tensor(list(data) + [256])  # the end of text closes the document
    losses = {}
    for method in ("learned", "rope", "alibi", "cable"):
        series, _ = check_train.plain_loop({"method": method}, "random", 7, tokens, 8, torch.float32,
                                           check_train.STEPS)
        losses[method] = [round(float(loss), 7) for loss in series[:, 0]]
    golden = {"made_by": "tools/oracle/golden_train.py", "torch": torch.__version__,
              "transformers": transformers.__version__, "seed": 7, "model": check_train.MODEL,
              "optimizer": check_train.OPTIMIZER, "train_length": check_train.LENGTH,
              "batch_sequences": check_train.BATCH, "warmup_steps": check_train.WARMUP,
              "losses": losses}
    with open(os.path.join(folder, "losses.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
