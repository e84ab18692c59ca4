"""What multiple choice must give: transformers' GPT-2 over bytes, in float64, scored as
karpathy/build-nanogpt's hellaswag.py and as EleutherAI/lm-evaluation-harness do it, written after their
sources without a look at our C++.

Developer-only; it needs torch and transformers (made with 2.11 and 4.46.3):

    python3 tools/oracle/choice_oracle.py tests/golden/choice

reads hellaswag.jsonl and general.jsonl there and writes expected.json: for each case the negative
log-likelihood of each choice and what acc_norm divides by, item by item, acc and acc_norm. The weights
are gpt2_oracle.py's formula; id 256 is the begin of a text. Decisions closer than 1e-3 are refused, so
that fp32 must decide alike.
"""
import json
import os
import re
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2_oracle import weight

BOS = 256
CONFIG = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=512, vocab_size=320,
                    layer_norm_epsilon=1e-5, activation_function="gelu_new")


def encode(text):
    return list(text.encode())


# lm_eval/tasks/hellaswag/utils.py
def preprocess(text):
    text = text.strip()
    text = text.replace(" [title]", ". ")
    text = re.sub("\\[.*?\\]", "", text)
    return text.replace("  ", " ")


def hellaswag(doc):
    ctx = doc["ctx_a"] + " " + doc["ctx_b"].capitalize()
    return (preprocess(doc["activity_label"] + ": " + ctx),
            [preprocess(ending) for ending in doc["endings"]], int(doc["label"]))


# lm_eval/api/model.py, _encode_pair; an empty context is the prefix token
def encode_pair(context, continuation):
    if context == "":
        return [BOS], encode(continuation)
    n_spaces = len(context) - len(context.rstrip())
    if n_spaces > 0:
        continuation = context[-n_spaces:] + continuation
        context = context[:-n_spaces]
    whole, head = encode(context + continuation), encode(context)
    return head, whole[len(head):]


def lm_eval(model, context, choices, max_length, in_bytes):
    nll = []
    for choice in choices:
        head, tail = encode_pair(context, " " + choice)
        fed = (head + tail)[-(max_length + 1):][:-1]
        logp = torch.log_softmax(model(torch.tensor([fed])).logits[0].double(), -1)
        at = logp[-len(tail):].gather(1, torch.tensor(tail)[:, None])
        nll.append(-float(at.sum()))
    return nll, [float(len(c.encode()) if in_bytes else len(c)) for c in choices]


# build-nanogpt hellaswag.py, render_example and get_most_likely_row: one padded batch an item
def nanogpt(model, context, choices):
    head = encode(context) if context else [BOS]
    rows = [encode(" " + choice) for choice in choices]
    longest = max(len(row) for row in rows)
    tokens = torch.zeros((len(rows), len(head) + longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, row in enumerate(rows):
        tokens[i, :len(head) + len(row)] = torch.tensor(head + row)
        mask[i, len(head):len(head) + len(row)] = 1
    logits = model(tokens).logits.double()
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(),
                                             reduction="none").view(len(rows), -1)
    sums = (loss * mask[:, 1:]).sum(1)
    return sums.tolist(), [float(n) for n in mask[:, 1:].sum(1)]


def answer(scores):
    first, second = sorted(scores)[:2]
    assert second - first > 1e-3, scores
    return scores.index(first)


def case(model, path, protocol, context_length, in_bytes=False):
    items, right, right_norm = [], 0, 0
    for line in open(path, encoding="utf-8"):
        doc = json.loads(line)
        if protocol == "nanogpt":
            if "endings" in doc:
                context, choices, label = doc["ctx"], doc["endings"], int(doc["label"])
            else:
                context, choices, label = doc["context"], doc["choices"], doc["answer"]
            nll, norm = nanogpt(model, context, choices)
        else:
            context, choices, label = (hellaswag(doc) if "endings" in doc else
                                       (doc["context"], doc["choices"], doc["answer"]))
            nll, norm = lm_eval(model, context, choices, context_length, in_bytes)
        items.append({"nll": nll, "norm": norm})
        right += answer(nll) == label
        right_norm += answer([a / b for a, b in zip(nll, norm)]) == label
    return {"file": os.path.basename(path), "context_length": context_length, "items": items,
            "protocol": protocol, "length": "bytes" if in_bytes else "characters",
            "acc": right / len(items), "acc_norm": right_norm / len(items)}


def main(folder):
    torch.set_default_dtype(torch.float64)
    model = GPT2LMHeadModel(CONFIG).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weight(name, parameter.shape))
        questions = [os.path.join(folder, name) for name in ("hellaswag.jsonl", "general.jsonl")]
        cases = [case(model, path, protocol, 400) for path in questions
                 for protocol in ("nanogpt", "lm_eval")]
        cases.append(case(model, questions[0], "lm_eval", 400, in_bytes=True))
        cases.append(case(model, questions[0], "lm_eval", 90))
    with open(os.path.join(folder, "expected.json"), "w") as f:
        json.dump(cases, f, indent=1, sort_keys=True)
        f.write("\n")
    for one in cases:
        print(one["file"], one["protocol"], one["context_length"], one["acc"], one["acc_norm"])


if __name__ == "__main__":
    main(sys.argv[1])
