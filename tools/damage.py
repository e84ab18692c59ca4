"""./dev soak damage: is one flipped bit ever silent?

State folders made by the real programs (damage_states.py) are copied, one bit of one file is flipped, and the
commands of a user follow: what reads, then `gc`, on a finished state; the same while a coordinator serves it, with
its page of metrics; `run` to the end, on a killed one. Each kind of file is met equally often, whatever its size. A
case is

  harmless   every answer is that of the undamaged state
  mended     `run` said what it met, and the table is the same
  told       an error, or a line beside the answer, names the thing and what to do; no number is another one
  WRONG      another number or text without a word, a message without thing or remedy, a crash, no end

Exit code 1 when a case is wrong. Each such case is printed with its seed, and with what was said in
build/damage/wrong/SEED.txt; `--seed SEED --cases 1 --kept` repeats it on the same folders.

  damage.py [--seed N] [--cases N] [--jobs N] [--kind TEXT] [--state NAME] [--kept] [--programs FOLDER]

Standard library only.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import queue
import random
import re
import shutil
import sqlite3
import subprocess
import sys

import damage_states

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build/damage"

# What a file is, by its path in the state folder: the first that fits.
KINDS = [
    ("database", r"longrun\.db"),
    ("database's log", r"longrun\.db-wal"),
    ("database's index of its log", r"longrun\.db-shm"),
    ("note of what its log has", r"longrun\.db-mark"),
    ("database.id", r"database\.id"),
    ("coordinator's log", r"coordinator\.log|worker\.log"),
    ("coordinator's door", r"coordinator\.(lock|address|metrics)"),
    ("list of dropped artifacts", r"dropped_artifacts\.json"),
    ("artifact", r"artifacts/.*"),
    ("log of an attempt", r"logs/.*"),
    ("named file", r"files/.*"),
    ("dataset's manifest", r"datasets/[^/]*/dataset\.json"),
    ("dataset's vocabulary", r"datasets/[^/]*/tokenizer\.json"),
    ("dataset's tokens", r"datasets/.*\.lrtk"),
    ("worker_id", r"worker/worker_id"),
    ("folder_id", r"worker/folder_id"),
    ("worker's door", r"worker/(lock|worker\.metrics)"),
    ("task.json", r"worker/attempts/[^/]*/task\.json"),
    ("journal", r"worker/attempts/[^/]*/journal\.jsonl"),
    ("acked", r"worker/attempts/[^/]*/acked"),
    ("exit.json", r"worker/attempts/[^/]*/exit\.json"),
    ("shim.json", r"worker/attempts/[^/]*/shim\.(json|lock)"),
    ("trainer's log", r"worker/attempts/[^/]*/trainer\.log"),
    ("checkpoint of an attempt", r"worker/attempts/[^/]*/checkpoints/.*"),
    ("artifact of an attempt", r"worker/attempts/.*"),
    ("cached checkpoint", r"worker/cache/[^/]*/.*"),
]
# No program's: it tells the fake trainer how to behave.
NOT_OURS = r"worker/cache/behaviour\.json"
VERDICTS = ["harmless", "mended", "told", "WRONG"]

CRASH = re.compile(r"terminate called|json\.exception|std::|what\(\):|this must hold and does not|Sanitizer|"
                   r"core dumped|basic_string|Segmentation|SQLITE_|uncaught", re.IGNORECASE)
THING = re.compile(r"/[\w.-]+/|\b[0-9a-f]{8,64}\b|\b[0-9A-HJKMNP-TV-Z]{26}\b|\"[^\"]+\"|database|worker_id|"
                   r"\b(words|mine|given|sweep)\b")
REMEDY = re.compile(r"\b(restore|put back|put it back|backup|goes on|retry|again|anew|delete|remove|move|write|make|give|start|stop|import|"
                    r"export|measure|run|use|repair|restart|continues|nothing to do)\b", re.IGNORECASE)
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
DOCTOR_OF_MACHINE = ["check", "libtorch", "cpu", "gpu", "memory", "disk", "sync", "limits", "clock", "ports"]
MENDED = re.compile(r"damaged|does not hold|digest|torn|missing|cannot read|again|anew|not the", re.IGNORECASE)


def fail(text):
    sys.exit(f"damage: {text}")


# ---- what is damaged -----------------------------------------------------------------------------


def kind_of(path):
    for kind, pattern in KINDS:
        if re.fullmatch(pattern, path):
            return kind
    return fail(f"{path} is of no kind that tools/damage.py knows: give it one")


def files_by_kind(folder):
    kinds = collections.defaultdict(list)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.stat().st_size > 0 and not re.fullmatch(NOT_OURS, name):
            kinds[kind_of(name)].append(name)
    return dict(kinds)


def pages_by_table(path):
    """Which pages of a database belong to which table or index; the page size."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        try:
            rows = database.execute("SELECT name, pageno FROM dbstat ORDER BY name, pageno").fetchall()
        except sqlite3.OperationalError as error:
            fail(f"this Python's SQLite cannot tell which page is of which table ({error}): take Debian's python3")
        size = database.execute("PRAGMA page_size").fetchone()[0]
    tables = collections.defaultdict(list)
    for name, page in rows:
        tables[name].append(page)
    return dict(tables), size


class Flip:
    """One bit of one file; a database's tables are met equally often, whatever their size."""

    def __init__(self, chance, folder, kinds, wanted):
        self.kind = chance.choice([kind for kind in sorted(kinds) if wanted in kind])
        self.file = chance.choice(kinds[self.kind])
        self.detail = ""
        data = (folder / self.file).read_bytes()
        begin, end = 0, len(data)
        if self.kind == "database":
            tables, size = pages_by_table(folder / self.file)
            self.detail = chance.choice(sorted(tables))
            page = chance.choice(tables[self.detail])
            begin, end = (page - 1) * size, page * size
        # What is empty, as the middle of most pages, is met too, but seldom.
        for _ in range(8):
            self.offset = chance.randrange(begin, end)
            if any(data[max(begin, self.offset - 8):self.offset + 8]):
                break
        self.bit = chance.randrange(8)

    def apply(self, home):
        with open(home / self.file, "r+b") as file:
            file.seek(self.offset)
            byte = file.read(1)[0]
            file.seek(self.offset)
            file.write(bytes([byte ^ (1 << self.bit)]))

    def __str__(self):
        of = f" ({self.detail})" if self.detail else ""
        return f"{self.file}{of} byte {self.offset} bit {self.bit}"


# ---- what is asked -------------------------------------------------------------------------------


def reading_commands(lane, with_deep):
    """(command, whether its numbers are compared)"""
    run = lane.must("query", "SELECT run_key FROM runs ORDER BY position", "-o", "csv").split()[1]
    commands = [["table", "sweep", "-o", "json"], ["table", "given", "-o", "csv"],
                ["query", "SELECT * FROM sweep_results ORDER BY task, cell, metric, variant", "-o", "json"],
                ["query", "SELECT * FROM curves WHERE metric <> 'tokens_per_s' ORDER BY task, metric, step", "-o", "csv"],
                ["get", "sweep", "-o", "json"], ["get", run, "-o", "json"], ["ls", "-o", "json"],
                ["data", "verify", "words"], ["models", "ls", "-o", "csv"], ["logs", run],
                ["export", run, "exported"], ["doctor"]]
    return commands + ([["doctor", "--deep"]] if with_deep else [])


def comparable(command, out):
    """Of `doctor` what its checks of the state folder found: the others tell of the machine at this moment."""
    if command[0] != "doctor":
        return out
    table = out.split("what to do")[0]
    words = [line.split()[:2] for line in table.splitlines() if line.strip()]
    return "\n".join(" ".join(of) for of in words if of[0] not in DOCTOR_OF_MACHINE)


def ask(lane, command):
    if command[0] == "export":
        shutil.rmtree(lane.folder / "exported", ignore_errors=True)
    answer = lane.longrun(*command)
    answer.said = answer.out if command[0] == "doctor" else ""
    answer.out = comparable(command, answer.out)
    return answer


def without_history(text):
    """A table in JSON without attempts, which a run that went on has other ones of."""
    def drop(value):
        if isinstance(value, dict):
            return {key: drop(part) for key, part in value.items() if key != "attempt"}
        return [drop(part) for part in value] if isinstance(value, list) else value
    try:
        return json.dumps(drop(json.loads(text)), sort_keys=True, indent=1)
    except ValueError:
        return text


def judge(answer, right):
    """(verdict, why) of one answer beside the undamaged state's."""
    if answer.code is None:
        return "WRONG", f"no end within {damage_states.SECONDS_MAX} s"
    if answer.code < 0 or answer.code >= 128:
        return "WRONG", f"crashed with {answer.code}"
    if crash := CRASH.search(answer.out + answer.err):
        return "WRONG", f"says \"{crash.group()}\""
    same = answer.code == right.code and answer.out == right.out
    if answer.may_lack and not same and set(answer.out.splitlines()) < set(right.out.splitlines()):
        return "told", ""
    # `doctor` tells on standard output.
    told, known = answer.err + ("" if same else answer.said), right.err.splitlines() + right.said.splitlines()
    news = "\n".join(line for line in told.splitlines() if line not in known)
    if same and not news:
        return "harmless", ""
    if not same and not news and answer.code == right.code:
        here, there = answer.out.splitlines(), right.out.splitlines()
        other = [line for line in here if line not in there] or [line for line in there if line not in here]
        return "WRONG", f"another answer without a word: {' | '.join(other[:3])}"
    others = set(NUMBER.findall(answer.out)) - set(NUMBER.findall(right.out))
    if others:
        return "WRONG", f"told, but gives other numbers: {' '.join(sorted(others)[:4])}"
    # A remedy may stand on a line of its own, below.
    lines = re.sub(r"\n +", " ", news).splitlines()
    if same or any(THING.search(line) and REMEDY.search(line) for line in lines):
        return "told", ""
    return "WRONG", f"no message names both a thing and a remedy: {' | '.join(lines[:2])}"


# ---- cases ---------------------------------------------------------------------------------------


class State:
    """What is put at HOME before each case, and asked after the flip."""

    def __init__(self, lane, name, folder=""):
        self.lane, self.name, self.folder = lane, name, folder or name
        self.kinds = files_by_kind(lane.folder / self.folder)

    def begin(self):
        self.lane.put(self.folder)

    def end(self):
        """What is wrong with how it ended, "" for nothing."""
        return ""


class Reading(State):
    """A finished state is read."""

    def __init__(self, lane, name, folder=""):
        super().__init__(lane, name, folder)
        self.commands = reading_commands(lane, "--deep" in lane.must("doctor", "--help"))
        self.kept = set()
        rounds = []
        for _ in range(2):
            self.begin()
            rounds.append(list(self.asked()))
            self.kept = self.kept or self.artifacts()
            self.end()
        self.right = [answer for _, answer in rounds[0]]
        for (command, first), (_, second) in zip(*rounds):
            if (first.code, first.out) != (second.code, second.out):
                fail(f"longrun {' '.join(command)} says other things each time on an undamaged state:\n{first.out}\n{second.out}")

    def artifacts(self):
        return {path.name for path in (self.lane.home / "artifacts").rglob("*") if path.is_file()}

    def asked(self):
        for command in self.commands:
            yield command, ask(self.lane, command)
        yield ["gc"], self.collect()

    def collect(self):
        """`gc`, with the artifacts as its answer that it took although an undamaged state keeps them."""
        before = self.artifacts()
        answer = self.lane.longrun("gc")
        taken = sorted((self.kept & before) - self.artifacts())
        answer.out = "".join(f"took {name}\n" for name in taken)
        return answer

    def answers(self):
        for (command, answer), right in zip(self.asked(), self.right):
            yield command, answer, right


class Served(Reading):
    """A finished state is read while a coordinator serves it; the flip happens under its hands."""

    def begin(self):
        super().begin()
        self.coordinator, self.metrics = self.lane.serve()

    def end(self):
        self.coordinator.terminate()
        try:
            code = self.coordinator.wait(damage_states.SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return "the coordinator does not stop"
        # 65 and 74: it met the damage itself, and said so in its log.
        return "" if code in (0, 65, 74) else f"the coordinator ended with {code}"

    def asked(self):
        yield from super().asked()
        yield ["/metrics"], self.lane.scrape(self.metrics)


class GoingOn(State):
    """A killed state goes on to its end."""

    TABLE = ["table", "sweep", "-o", "json"]

    def __init__(self, lane, name, trainer):
        super().__init__(lane, name)
        self.trainer = trainer
        self.begin()
        self.right = self.go()
        if self.right[0].code != 0 or self.right[1].code != 0:
            fail(f"an undamaged state does not go on: {self.right[0].err}{self.right[1].err}")

    def go(self):
        run = self.lane.longrun("run", "sweep.yaml", "--cpu-slots", "1", trainer=self.trainer)
        run.out = ""  # the table is asked for itself
        table = self.lane.longrun(*self.TABLE)
        table.out = without_history(table.out)
        return run, table

    def answers(self):
        run, table = self.go()
        right_run, right_table = self.right
        if run.code == 0 and not MENDED.search(run.err):
            run.err = right_run.err  # progress, other each time
        yield ["run", "sweep.yaml"], run, right_run
        if run.code != 0:
            table.err += run.err  # what is missing there was told by `run`
        yield self.TABLE, table, right_table


class Case:
    def __init__(self, seed):
        self.seed, self.verdict, self.why, self.flip, self.state, self.text = seed, "harmless", "", None, "", ""

    def carry_out(self, states, wanted):
        chance = random.Random(self.seed)
        possible = [state for state in states if any(wanted in kind for kind in state.kinds)]
        state = chance.choice(possible)
        self.state = state.name
        state.begin()
        self.flip = Flip(chance, state.lane.home, files_by_kind(state.lane.home), wanted)
        logs = {log: log.stat().st_size for log in state.lane.home.glob("*.log")}
        self.flip.apply(state.lane.home)
        said = []
        for command, answer, right in state.answers():
            verdict, why = judge(answer, right)
            if verdict == "told" and command[0] == "run" and answer.code == 0:
                verdict = "mended"
            said.append(f"$ longrun {' '.join(command)}   [{verdict}{': ' if why else ''}{why}]\n{answer.out}"
                        f"{answer.err}? {answer.code}\n")
            self.worsen(verdict, f"{command[0]}: {why}" if why else "")
        if ended := state.end():
            self.worsen("WRONG", ended)
        if left := state.lane.outlived():
            self.worsen("WRONG", f"left running: {left}")
        for log, size in logs.items():
            lines = log.read_bytes()[size:].decode("utf-8", "replace") if log.exists() else ""
            if crash := CRASH.search(lines):
                self.worsen("WRONG", f"{log.name} says \"{crash.group()}\"")
                said.append(f"{log.name}:\n{lines}\n")
        self.text = "\n".join(said)

    def worsen(self, verdict, why):
        if VERDICTS.index(verdict) > VERDICTS.index(self.verdict):
            self.verdict, self.why = verdict, why

    def __str__(self):
        return f"{self.seed:>20}  {self.state:9} {self.verdict:9} {self.flip}{': ' if self.why else ''}{self.why}"


def states_of(lane, wanted, kept):
    states = {"finished": lambda: Reading(lane, "finished"), "served": lambda: Served(lane, "served", "finished"),
              "killed": lambda: GoingOn(lane, "killed", "longrun-fake-trainer"),
              "trained": lambda: GoingOn(lane, "trained", "longrun-trainer")}
    if wanted not in ("", *states):
        fail(f"there is no state \"{wanted}\": choose one of {', '.join(states)}")
    chosen = [wanted] if wanted else list(states)
    if not kept:
        lane.begin()
        if {"finished", "served"} & set(chosen):
            lane.make_finished()
        if "killed" in chosen:
            lane.make_killed()
        if "trained" in chosen:
            lane.make_trained()
    return [states[name]() for name in chosen]


def commit_seed():
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], stdout=subprocess.PIPE,
                            text=True, check=False).stdout.strip()
    return int(commit or "0", 16)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev soak damage", description="flips bits in state folders")
    parser.add_argument("--seed", type=int, default=None, help="of the first case (default: of the commit)")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="cases at once, each on folders of its own")
    parser.add_argument("--kind", default="", help="only kinds of file with this in their name")
    parser.add_argument("--state", default="", help="finished, served, killed or trained only")
    parser.add_argument("--kept", action="store_true", help="on the folders that the last call made")
    parser.add_argument("--programs", default=str(ROOT / "build/release/bin"))
    return parser.parse_args()


def print_summary(cases):
    counts = collections.defaultdict(collections.Counter)
    for case in cases:
        counts[case.flip.kind][case.verdict] += 1
    print(f"\n{'kind of file':30}" + "".join(f"{verdict:>10}" for verdict in VERDICTS))
    for kind in sorted(counts):
        print(f"{kind:30}" + "".join(f"{counts[kind][verdict]:10}" for verdict in VERDICTS))
    print(f"{'':30}" + "".join(f"{sum(c[verdict] for c in counts.values()):10}" for verdict in VERDICTS))


def main():
    options = arguments()
    seed = commit_seed() if options.seed is None else options.seed
    programs = pathlib.Path(options.programs).resolve()
    wrong_folder = WORK / "wrong"
    shutil.rmtree(wrong_folder, ignore_errors=True)
    wrong_folder.mkdir(parents=True)
    lanes = [damage_states.Lane(WORK / str(i), programs) for i in range(options.jobs)]
    free = queue.Queue()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for states in pool.map(lambda lane: states_of(lane, options.state, options.kept), lanes):
            free.put(states)
        print(f"seeds {seed} to {seed + options.cases - 1}, programs of {programs}", flush=True)

        def carry_out(case_seed):
            states = free.get()
            case = Case(case_seed)
            try:
                case.carry_out(states, options.kind)
            finally:
                states[0].lane.kill_all()
                free.put(states)
            print(case, flush=True)
            if case.verdict == "WRONG":
                (wrong_folder / f"{case.seed}.txt").write_text(f"{case}\n\n{case.text}")
            return case

        cases = list(pool.map(carry_out, range(seed, seed + options.cases)))
    print_summary(cases)
    wrong = [case for case in cases if case.verdict == "WRONG"]
    for case in wrong:
        print(case)
    print(f"{len(wrong)} of {len(cases)} cases are wrong" + (f": see {wrong_folder}" if wrong else ""))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
