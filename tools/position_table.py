"""Writes docs/position-methods-table.md: the table of sweeps/position-methods.yaml with its intervals, and how
the claims of that file were judged.

    ./dev position-methods        runs the sweep (what is there already is not run again), then this

Called with the `longrun` whose state folder holds the sweep. Standard library only.
"""
import argparse
import json
import pathlib
import platform
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SWEEP = "position-methods"
SWEEP_FILE = "sweeps/position-methods.yaml"
# The exit codes of `longrun claims`: all supported, one refuted, some undecided.
JUDGED = (0, 1, 8)


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


def judged(longrun):
    """The claims of the sweep's file, judged."""
    command = [longrun, "claims", SWEEP, "--file", str(ROOT / SWEEP_FILE), "-o", "json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode not in JUDGED:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout)


def sentence(claim):
    effects = []
    for one in claim["comparisons"]:
        if one["interval"] is None:
            effects.append(f"{one['what']}: {one['reason']}")
        else:
            low, high = one["interval"]
            effects.append(f"{one['what']} {one['effect']:.3f} ({low:.3f} to {high:.3f})")
    text = f"- **{claim['verdict']}**: {claim['statement']}. {'; '.join(effects)}."
    return textwrap.fill(text, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longrun", required=True)
    args = parser.parse_args()
    table = json.loads(ask(args.longrun, "table", SWEEP, "-o", "json"))[0]
    seeds = {cell["seeds"] for row in table["rows"] for cell in row["cells"] if cell["status"] == "ok"}
    if len(seeds) != 1:
        raise SystemExit(f"{SWEEP}: cells have {sorted(seeds)} seeds; wait until the sweep has finished")
    # Below the table are the claims, which the page shows with their intervals.
    table_text = ask(args.longrun, "table", SWEEP, "-o", "markdown").split("\nClaims of ")[0]
    lines = table_text.strip().split("\n")
    markdown = "\n".join(line if line.startswith("|") else textwrap.fill(line, 120) for line in lines)
    claims = judged(args.longrun)
    sentences = "\n".join(sentence(claim) for claim in claims["claims"])
    (ROOT / "docs/position-methods-table.md").write_text(f"""# Position methods, trained at 64 bytes

`./dev position-methods` generates this page from [sweeps/position-methods.yaml](../sweeps/position-methods.yaml):
a GPT-2 body of 3 layers, 4 heads and width 96, trained for 600 steps of 16 sequences of 64 bytes on five
novels by Jane Austen, with {seeds.pop()} seeds each. The values are the perplexity per byte of a sixth novel in
windows of each length, over the same 65,536 bytes at every length. Trained on {machine()}.

± is half of the 95 % interval: another seed or another text could have given a number that far away. All methods read
the same text, so their differences are known far better than each number. The bold numbers of a column are the best
one and those that cannot be separated from it.

Such a short training favours methods with a built-in prior for nearby tokens. Learned, sinusoidal and T5 positions
are still far from the perplexity that they would reach with more steps. Keep this in mind when you compare
methods (down a column); it does not affect comparisons between lengths (along a row).

{markdown}

## Claims

The sweep's file states as `claims` what the papers of these methods say, as far as a small model can show it.
`longrun claims {SWEEP}` judged them ([claims.md](claims.md)): {claims["supported"]} supported,
{claims["refuted"]} refuted, {claims["undecided"]} undecided. A ratio below 1 says that the first has the lower perplexity.

{sentences}
""", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
