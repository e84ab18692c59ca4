"""Writes docs/extend-context.md: what each extension of sweeps/extend-context.yaml reaches at and beyond the train
length, as a table and as a heat map of recall by depth.

    ./dev extend-context        runs the sweep (what is there already is not run again), then this

If the model itself does not retrieve inside its train length (recall below 0.9), recall elsewhere says nothing about an
extension. The experiment is then void: the page says so and shows no recall beyond the train length, and the exit code
is 1. If only a stage does not retrieve there, its own row has no recall beyond the train length, and the page says why.

Called with the `longrun` whose state folder holds the sweep. Standard library only.
"""
import argparse
import json
import pathlib
import subprocess
import textwrap

from position_table import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = "docs/extend-context.md"
SWEEP = "extend-context"
RECALL_MIN = 0.9
# At FACTOR times the train length, the perplexity under a method that keeps to trained positions
# must be at most FLAT_MAX times its perplexity at the train length, and that without a method above
# BROKEN_MIN times.
FACTOR, FLAT_MAX, BROKEN_MIN = 4, 1.05, 1.3
FLAT = ("self_extend", "dca", "gali", "rerope", "leaky_rerope", "lm_infinite", "streaming", "window")
PLAIN, BASE, STAGE_END = "none", "base", ", trained"
SHADES = "·░▒▓█"
# After a recall: not separable from the plain window, not compared with it, or neither.
MARKS = {True: " ~", None: " ?", False: ""}
NOT_COMPARED = " `?` marks a recall that was not compared with it."


class Void(Exception):
    """The experiment has no result; the message says why."""


def ask(longrun, *arguments):
    command = [longrun, "table", SWEEP, *arguments, "-o", "json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}; wait until the sweep has finished")
    return json.loads(done.stdout)


def name_of(row):
    """A name that fits a column: `pi (factor 4)`, without lists of numbers; `pose, trained` for the
    stage `pose`, which is read as it was trained."""
    if row["stage"] != BASE:
        return row["stage"] + STAGE_END
    extension = row["extension"]
    if isinstance(extension, str):
        return extension
    params = [f"{key} {value}" for key, value in extension.items()
              if key != "method" and not isinstance(value, list)]
    return f"{extension['method']} ({', '.join(params)})" if params else extension["method"]


def numbers(tables, metric):
    """{name of extension: {context length: cell}} of the only table among `tables`."""
    if len(tables) != 1:
        raise SystemExit(f"expected one table of {metric}, found {len(tables)}")
    lengths = [column[0] for column in tables[0]["columns"]]
    found = {}
    for row in tables[0]["rows"]:
        name = name_of(row)
        found[name] = dict(zip(lengths, row["cells"]))
        for length, cell in found[name].items():
            if cell["status"] not in ("ok", "overflow"):
                raise SystemExit(f"{metric} under {name} at {length} is {cell['status']}: "
                                 "wait until the sweep has finished")
    return found


def shade(recall):
    """A character for a share: none at all, then in quarters."""
    return SHADES[0] if recall == 0 else SHADES[min(4, 1 + int(recall * 4))]


def gate(recall, train_length):
    """The recall of the plain model inside its train length, or Void."""
    cell = recall[PLAIN][train_length]
    if cell["recall"] >= RECALL_MIN:
        return cell
    low, high = cell["wilson95"]
    raise Void(f"The model finds {cell['recall']:.2f} of the keys in texts of {train_length} tokens, its train length "
               f"(95 % interval {low:.2f} to {high:.2f}), and {RECALL_MIN} is required. Recall at other lengths would "
               "say nothing about the extensions. Train longer, or with a larger share of passkey documents.")


def void_stages(recall, train_length):
    """{name: why its recall beyond the train length says nothing} of the stages to which that applies."""
    void = {}
    for name, cells in recall.items():
        cell = cells[train_length]
        if not name.endswith(STAGE_END) or cell["recall"] >= RECALL_MIN:
            continue
        low, high = cell["wilson95"]
        void[name] = (f"`{name}` finds only {cell['recall']:.2f} of the keys in texts of {train_length} tokens (95 % "
                      f"interval {low:.2f} to {high:.2f}), and {RECALL_MIN} is required: this model does not retrieve "
                      "even inside its train length, so its recall in longer texts would say nothing about "
                      "its training method, and is not shown.")
    return void


def not_compared(recall, train_length, void):
    """Whether the table shows a recall that was not compared with the plain window."""
    return any(cell.get("like_window", False) is None for name, cells in recall.items()
               for length, cell in cells.items() if name not in void or length <= train_length)


def heat_map(by_depth, extensions, lengths, train_length, void):
    width = max(len(name) for name in extensions)
    depths = sorted(by_depth)
    columns = [max(len(depths), len(str(length))) for length in lengths]
    lines = ["  ".join(["".ljust(width)] + [str(n).ljust(c) for n, c in zip(lengths, columns)]).rstrip()]
    for name in extensions:
        rows = ["–" if name in void and length > train_length else
                "".join(shade(by_depth[depth][name][length]["recall"]) for depth in depths) for length in lengths]
        lines.append("  ".join([name.ljust(width)] + [r.ljust(c) for r, c in zip(rows, columns)]).rstrip())
    return "\n".join(lines)


def table(perplexity, recall, lengths, with_recall, train_length, void):
    heads = ["extension"] + [f"perplexity {n}" for n in lengths]
    heads += [f"recall {n}" for n in lengths] if with_recall else []
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, cells in perplexity.items():
        row = [name]
        row += ["inf" if cells[n]["perplexity"] is None else f"{cells[n]['perplexity']:.4g}" for n in lengths]
        if with_recall:
            for length in lengths:
                if name in void and length > train_length:
                    row.append("–")
                    continue
                cell = recall[name][length]
                low, high = cell["wilson95"]
                mark = MARKS[cell.get("like_window", False)]
                row.append(f"{cell['recall']:.2f} ({low:.2f}–{high:.2f}){mark}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def verdicts(perplexity, train_length):
    """What the perplexities must show at FACTOR times the train length, and whether they do: the ratio to the
    perplexity of the same method at the train length, and that to the plain model's there."""
    length = FACTOR * train_length
    lines = []
    for name, cells in perplexity.items():
        method = name.partition(" ")[0]
        if method not in FLAT and name != PLAIN:
            continue
        there = cells[length]["perplexity"] or float("inf")
        own, plain = (of[train_length]["perplexity"] or float("inf") for of in (cells, perplexity[PLAIN]))
        ratio = there / own
        good = ratio <= FLAT_MAX if method in FLAT else ratio > BROKEN_MIN
        wanted = f"at most {FLAT_MAX}" if method in FLAT else f"above {BROKEN_MIN}"
        beside = "" if name == PLAIN else f" ({there / plain:.3f} of the plain model's)"
        lines.append(f"- {name}: {ratio:.3f}{beside}, expected {wanted}: **{'holds' if good else 'does not hold'}**")
    return "\n".join(lines)


def page(perplexity, recall, by_depth, train_length, lengths, void):
    with_recall = void is None
    stages = void_stages(recall, train_length) if with_recall else {}
    parts = [f"""# Extending the context of a small model

`./dev extend-context` generates this page from [sweeps/extend-context.yaml](../sweeps/extend-context.yaml): a Llama body
with rotary positions, trained at {train_length} tokens on five novels by Jane Austen, into which short texts with a
hidden key are mixed ([data.md](data.md#mixed-into-a-text)). Perplexity is that of a sixth novel. `recall` is the share
of prompts of the evaluation `passkey` (protocol `fitted`) for which the model repeats the key. No prompt
occurs in the training text. Measured on {machine()}."""]
    if void is not None:
        parts.append("**This experiment is void.** " + void)
    parts.append("## By extension")
    parts.append(table(perplexity, recall, lengths, with_recall, train_length, stages))
    if with_recall:
        parts.append(f"""The intervals are Wilson's 95 % intervals over the prompts. `~` marks a recall that a test (5 %)
cannot separate from that of `window`, which sees only the last {train_length} tokens and so finds only keys near the
end.{NOT_COMPARED if not_compared(recall, train_length, stages) else ''}""")
        parts += stages.values()
    parts.append(f"""`pose, trained` is the model after further training at positions up to 2048, with texts of
{train_length} tokens as before. All other rows are the same model without further training. Under pi, ntk,
ntk_by_parts, yarn, llama3 and longrope, it reads with rotary frequencies that it did not see in training.""")
    parts.append(f"""## Perplexity at {FACTOR} times the train length

Ratio to the perplexity of the same method at the train length, and in brackets to that of the plain model there:""")
    parts.append(verdicts(perplexity, train_length))
    if with_recall:
        parts.append("## Recall by depth")
        parts.append(f"""From the evaluation `needle`, for each context length: one character for each depth, from the
beginning of the text (left) to its end (right). Each character shows the share of the keys that were
found: `{SHADES[0]}` none, `{SHADES[1]}` less than 1/4, `{SHADES[2]}` from 1/4 to 1/2, `{SHADES[3]}` from 1/2 to 3/4,
`{SHADES[4]}` 3/4 or more.""")
        any_depth = next(iter(by_depth.values()))
        drawn = heat_map(by_depth, list(any_depth), sorted(any_depth[PLAIN]), train_length, stages)
        parts.append(f"```\n{drawn}\n```")
        parts.append(f"`longrun plot {SWEEP} --what depth -o recall.svg` draws a picture for each extension.")
    return "\n\n".join(part if part.startswith(("|", "-", "#", "```")) and "\n\n" not in part else wrapped(part)
                       for part in parts) + "\n"


def wrapped(text):
    """Paragraphs filled to 120 columns; headings stay."""
    return "\n\n".join(part if part.startswith("#") else
                       textwrap.fill(part, 120, break_on_hyphens=False, break_long_words=False)
                       for part in text.split("\n\n"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longrun", required=True)
    args = parser.parse_args()
    fitted = ("--metric", "recall", "--where", "protocol=fitted")
    tables = ask(args.longrun, "--metric", "perplexity")
    train_length = tables[0]["rows"][0]["train_length"]
    perplexity = numbers(tables, "perplexity")
    recall = numbers(ask(args.longrun, *fitted), "recall")
    by_depth = {}
    for one in ask(args.longrun, "--metric", "recall", "--where", "protocol=needle"):
        if one.get("depth") is not None:
            by_depth[one["depth"]] = numbers([one], "recall")
    void = None
    try:
        gate(recall, train_length)
    except Void as error:
        void = str(error)
    lengths = sorted(perplexity[PLAIN])
    (ROOT / PAGE).write_text(page(perplexity, recall, by_depth, train_length, lengths, void), encoding="utf-8")
    print(f"{PAGE}: " + ("void: " + void if void else f"recall {recall[PLAIN][train_length]['recall']:.2f} "
                         f"at {train_length} tokens"))
    return 1 if void else 0


if __name__ == "__main__":
    raise SystemExit(main())
