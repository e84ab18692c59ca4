"""Writes docs/position-methods-table.md: the table of sweeps/position-methods.yaml with its error bars, and
what it says about orderings, each sentence with the two cells and their difference in standard errors.

    ./dev position-methods        runs the sweep (what is there already is not run again), then this

Called with the `longrun` whose state folder holds the sweep. Standard library only.
"""
import argparse
import json
import math
import pathlib
import platform
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SWEEP = "position-methods"
CABLE, KERPLE = "cable(variant=official)", "kerple(variant=log)"
FIRE = "fire(init_length=64)"
# (position, context length) said to be below (position, context length), as the papers have it.
CLAIMS = [
    ((CABLE, 1024), (KERPLE, 1024)), ((KERPLE, 1024), ("alibi", 1024)),
    (("alibi", 1024), ("t5", 1024)), (("alibi", 1024), ("rope", 1024)),
    (("alibi", 1024), ("none", 1024)), (("alibi", 1024), ("sinusoidal", 1024)),
    (("xpos", 1024), ("rope", 1024)), ((KERPLE, 1024), (FIRE, 1024)),
    ((CABLE, 1024), ("fox", 1024)), ((CABLE, 1024), ("cable(variant=scaled)", 1024)),
    ((CABLE, 1024), (CABLE, 64)), ((KERPLE, 1024), (KERPLE, 64)), (("alibi", 1024), ("alibi", 64)),
    (("fox", 1024), ("fox", 64)), (("rope", 64), ("rope", 1024)), (("t5", 64), ("t5", 1024)),
    (("cope", 64), ("cope", 1024)), ((FIRE, 64), (FIRE, 1024)),
    ((CABLE, 64), ("rope", 64)), (("rope", 64), ("alibi", 64)), (("alibi", 64), ("none", 64)),
]


def ask(longrun, *arguments):
    return subprocess.run([longrun, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def machine():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def name_of(position):
    """As the table prints it: kerple(variant=log)."""
    if isinstance(position, str):
        return position
    params = ", ".join(f"{key}={value}" for key, value in position.items() if key != "method")
    return f"{position['method']}({params})" if params else position["method"]


def cells_of(table):
    """(position, context length) -> (perplexity, standard error over seeds, seeds)"""
    cells = {}
    for row in table["rows"]:
        for cell in row["cells"]:
            if cell["status"] == "ok":
                key = name_of(row["position"]), cell["context_length"]
                cells[key] = cell["perplexity"], cell["se"], cell["seeds"]
    return cells


def sentence(cells, below, above):
    a, b = cells[below], cells[above]
    error = math.hypot(a[1], b[1])
    apart = (b[0] - a[0]) / error
    verdict = ("holds" if apart > 2 else
               "does not hold: the order is reversed" if apart < -2 else "undecided")

    def show(key, cell):
        return f"{key[0]} at {key[1]} ({cell[0]:.3f} ± {cell[1]:.3f})"
    text = (f"- {show(below, a)} below {show(above, b)}: {verdict}, "
            f"{abs(apart):.1f} standard errors of the difference.")
    return textwrap.fill(text, 120, subsequent_indent="  ", break_on_hyphens=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longrun", required=True)
    args = parser.parse_args()
    table = json.loads(ask(args.longrun, "table", SWEEP, "-o", "json"))[0]
    cells = cells_of(table)
    seeds = {n for _, _, n in cells.values()}
    if len(seeds) != 1:
        raise SystemExit(f"{SWEEP}: cells have {sorted(seeds)} seeds; wait until the sweep has finished")
    markdown = ask(args.longrun, "table", SWEEP, "-o", "markdown").strip()
    sentences = "\n".join(sentence(cells, *claim) for claim in CLAIMS)
    (ROOT / "docs/position-methods-table.md").write_text(f"""# Position methods, trained at 64 bytes

`./dev position-methods` generates this page from [sweeps/position-methods.yaml](../sweeps/position-methods.yaml):
a GPT-2 body of 3 layers, 4 heads and width 96, trained for 600 steps of 16 sequences of 64 bytes on five
novels by Jane Austen, with {seeds.pop()} seeds each. The values are the perplexity per byte of a sixth novel in
windows of each length, over the same 65,536 bytes at every length. ± is the standard error over seeds.
Trained on {machine()}.

Such a short training favours methods with a built-in prior for nearby tokens, and leaves learned,
sinusoidal and T5 positions far from their values after more steps. Keep this in mind when you compare
methods (down a column); it does not affect comparisons between lengths (along a row).

{markdown}

## Conclusions

"Holds" means that the two values differ by more than two standard errors of the difference (errors of
independent seeds add in quadrature). An error estimated from so few seeds is itself uncertain by about
half, so a large number of standard errors only means "far".

{sentences}
""", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
