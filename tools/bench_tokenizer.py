"""The measurement `tokenizer` of bench.py: text to the ids of GPT-2, one thread, beside tiktoken.

Both encode the same text in turn, round by round, in processes that are warm; the ids must be the
same. Times are of the processor, since the machine may be busy with others. Needs GPT-2's vocabulary (./dev vocab); tiktoken stands beside where `import tiktoken` works
(pip install tiktoken), and is given the same file, so that it fetches nothing.
"""
import array
import base64
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCABULARY = ROOT / ".data/tokenizers/gpt2.tiktoken"
ROUNDS = 9
# As tiktoken itself writes the rule of GPT-2 (tiktoken_ext/openai_public.py).
RULE = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def texts():
    """(name, text): what is read, and what means ill."""
    novels = sorted((ROOT / ".data/austen").glob("*.txt"))
    yield "six novels", "".join(novel.read_text(encoding="utf-8") for novel in novels)
    names = subprocess.run(["git", "ls-files", "*.cc", "*.h", "*.py", "*.md"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split()
    yield "this tree's sources and pages", "".join((ROOT / name).read_text(encoding="utf-8")
                                                   for name in names)
    chance = random.Random(1)
    yield "random letters, words of 1 to 40", " ".join(
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 40)))
        for _ in range(50_000))
    yield "random characters of all planes", "".join(
        chr(code) for code in (chance.randrange(0x20, 0x2FFFF) for _ in range(300_000))
        if not 0xD800 <= code < 0xE000)
    yield "100,000 times the letter a", "a" * 100_000
    yield "100,000 random letters in one word", "".join(
        chance.choices("abcdefghijklmnopqrstuvwxyz", k=100_000))
    yield "one million blanks", " " * 1_000_000


def tiktoken_encoding():
    try:
        import tiktoken
    except ImportError:
        return None, "tiktoken is not installed: pip install tiktoken"
    ranks = {base64.b64decode(token): int(rank)
             for token, rank in (line.split() for line in VOCABULARY.read_bytes().splitlines())}
    encoding = tiktoken.Encoding("gpt2-from-file", pat_str=RULE, mergeable_ranks=ranks, special_tokens={})
    return encoding, f"tiktoken {tiktoken.__version__}"


class Ours:
    """longrun-tokenizer-bench on one file, warm, measuring when it is told."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([str(program), "gpt2", str(path)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, LONGRUN_TOKENIZERS=str(VOCABULARY.parent)))

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def seconds(self):
        return float(self.order("time"))

    def ids(self, path):
        self.order(f"ids {path}")
        return array.array("i", path.read_bytes()).tolist()

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise RuntimeError("longrun-tokenizer-bench failed")


def bench_tokenizer(binaries, measured):
    if not VOCABULARY.exists():
        print("tokenizer: GPT-2's vocabulary is not here, nothing is measured: ./dev vocab", file=sys.stderr)
        return
    encoding, what = tiktoken_encoding()
    for name, text in texts():
        n_bytes = len(text.encode("utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "text"
            path.write_bytes(text.encode("utf-8"))
            program = Ours(binaries / "longrun-tokenizer-bench", path)
            ours, theirs, ids = [], [], []
            for _ in range(ROUNDS):
                ours.append(n_bytes / 1e6 / program.seconds())
                if encoding is not None:
                    begin = time.process_time()
                    ids = encoding.encode_ordinary(text)
                    theirs.append(n_bytes / 1e6 / (time.process_time() - begin))
            if encoding is not None and program.ids(pathlib.Path(folder) / "ids") != ids:
                raise RuntimeError(f"{name}: the ids are not those of tiktoken")
            program.close()
        if theirs:
            ratios = sorted(a / b for a, b in zip(ours, theirs))
            what_now = f"{what}; same ids, ratio {ratios[0]:.1f} to {ratios[-1]:.1f}"
        else:
            what_now = what
        yield measured(f"tokenizer: {name}", "MB/s", ours, theirs or None, what_now,
                       "2 x tiktoken" if name == "six novels" else None)
