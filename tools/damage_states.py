"""State folders for damage.py, made by the real programs: one whose sweeps are done, and ones that were killed.

Each state lies at HOME of a lane, and is put there anew before each case: a database names its datasets by their
paths, so a copy elsewhere would read the original's.

  finished   by the real trainer: two position methods, each with two seeds (a mean that lacks one is another
             number), multiple choice, and an imported model
  killed     by the fake trainer, whose numbers follow from what it reads: killed between checkpoints
  trained    by the real trainer, killed between checkpoints: datasets, weights and questions are read again
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import time
import urllib.request

SECONDS_MAX = 150  # of one command: a lease that must end first is a part of it

SWEEP = """apiVersion: longrun/v1
kind: Sweep
metadata: {{name: {name}, export: prometheus}}
spec:
  model: {{architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}}
  matrix: {{position: [{positions}], train_length: [32], dataset: [words], seed: [{seeds}]}}
  train:
    tokens: {tokens}
    batch_tokens: 256
    optimizer: {{lr: 1.0e-3}}
    checkpoint: {{every: 1s}}
  evaluate:
    - perplexity: {{context_lengths: [32, 64], split: validation, protocol: nonoverlap, score_tokens: 512}}
{more}"""
CHOICE = "    - multiple_choice: {file: questions.jsonl, context_lengths: [64], protocol: lm_eval}\n"
GIVEN = """apiVersion: longrun/v1
kind: Sweep
metadata: {name: given}
spec:
  model: {init_from: mine}
  matrix: {dataset: [words]}
  train: none
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap, score_tokens: 512}
"""
QUESTIONS = [{"context": "the ship was", "choices": ["slow", "slow and slow and slow"], "answer": 0},
             {"context": "", "choices": ["The sea was calm.", "Calm the the."], "answer": 0}]


class Answer:
    """How a command ended; code None: it did not within SECONDS_MAX."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err, self.said = code, out, err, ""
        self.may_lack = False  # a page has no place for words: what is damaged is missing there


class Lane:
    """A folder with one state at a time, and the programs on it."""

    def __init__(self, folder, programs):
        self.folder, self.programs = pathlib.Path(folder), pathlib.Path(programs)
        self.home = self.folder / "home"

    def environment(self, trainer="longrun-fake-trainer"):
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LONGRUN_HOME": str(self.home),
                "LONGRUN_WORKER_TRAINER": str(self.programs / trainer), "OMP_WAIT_POLICY": "passive",
                "OMP_NUM_THREADS": "1", "LONGRUN_HEARTBEAT_MS": "200", "LONGRUN_SUSPECT_MS": "2000",
                "LONGRUN_LEASE_MS": "6000", "LONGRUN_BACK_OFF_BASE_MS": "50", "LONGRUN_BACK_OFF_LIMIT_MS": "200"}

    def start(self, arguments, trainer="longrun-fake-trainer", out=subprocess.PIPE):
        return subprocess.Popen([str(self.programs / "longrun"), *arguments], cwd=self.folder,
                                env=self.environment(trainer), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True)

    def longrun(self, *arguments, trainer="longrun-fake-trainer"):
        process = self.start(arguments, trainer)
        try:
            out, err = process.communicate(timeout=SECONDS_MAX)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = None
        return Answer(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def serve(self):
        """Starts a coordinator on HOME; it, and the address of its page of metrics, once it answers."""
        with (self.home / "coordinator.log").open("ab") as log:
            process = subprocess.Popen([str(self.programs / "longrun-coordinator"), "--state", str(self.home)],
                                       cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
        limit = time.monotonic() + SECONDS_MAX
        while not (self.home / "coordinator.address").exists():
            if process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"damage: {self.folder}: the coordinator of an undamaged state does not serve")
            time.sleep(0.01)
        return process, (self.home / "coordinator.metrics").read_text().strip()

    @staticmethod
    def scrape(address):
        """What a page of metrics shows of results."""
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS_MAX) as page:
                text = page.read().decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            return Answer(1, "", f"{error}")
        answer = Answer(0, "\n".join(line for line in text.splitlines() if line.startswith("longrun_result_")), "")
        answer.may_lack = True
        return answer

    def must(self, *arguments, trainer="longrun-fake-trainer"):
        answer = self.longrun(*arguments, trainer=trainer)
        if answer.code != 0:
            raise SystemExit(f"damage: longrun {' '.join(arguments)} failed on an undamaged state ({answer.code}):\n"
                             f"{answer.out}{answer.err}")
        return answer.out

    def processes(self):
        """Those that work on this lane: their command line names it."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                where = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            ours = str(self.programs).encode() in words.split(b"\0")[0]
            if ours and (str(self.folder).encode() + b"/" in words or where == str(self.folder)):
                found.append(int(pid))
        return found

    def outlived(self):
        """The command line of what still runs although nobody waits for it; it gets a moment to end."""
        for _ in range(200):
            if not (pids := self.processes()):
                return ""
            time.sleep(0.01)
        try:
            return pathlib.Path(f"/proc/{pids[0]}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""

    def kill_all(self):
        while pids := self.processes():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)

    def keep(self, name):
        """What lies at HOME now becomes the state of that name."""
        self.kill_all()
        target = self.folder / name
        subprocess.run(["rm", "-rf", str(target)], check=True)
        subprocess.run(["cp", "-a", str(self.home), str(target)], check=True)

    def put(self, name):
        self.kill_all()
        subprocess.run(["rm", "-rf", str(self.home)], check=True)
        subprocess.run(["cp", "-a", str(self.folder / name), str(self.home)], check=True)

    # ---- making them -----------------------------------------------------------------------------

    def begin(self):
        self.kill_all()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)
        self.folder.mkdir(parents=True)
        self.write_texts()
        (self.folder / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))

    def write_texts(self):
        chance = random.Random(1)
        words = ["".join(chance.choice("abcdefghij") for _ in range(chance.randint(2, 7))) for _ in range(200)]
        for name, n in (("train.txt", 4000), ("validation.txt", 1000)):
            (self.folder / name).write_text(" ".join(chance.choice(words) for _ in range(n)))

    def write_sweep(self, name, positions, tokens, more="", seeds="1"):
        text = SWEEP.format(name=name, positions=", ".join(positions), tokens=tokens, more=more, seeds=seeds)
        (self.folder / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"

    def clear(self):
        self.kill_all()
        subprocess.run(["rm", "-rf", str(self.home)], check=True)
        self.must("data", "import", "words", "--train", "train.txt", "--validation", "validation.txt")

    def make_finished(self):
        self.clear()
        real = "longrun-trainer"
        self.must("run", self.write_sweep("sweep", ["cable", "rope"], 2048, CHOICE, seeds="1, 2"), trainer=real)
        run = self.must("query", "SELECT run_key FROM runs WHERE position = 'rope' AND seed = 1", "-o", "csv").split()[1]
        self.must("export", run, "folder")
        self.must("import", "mine", "folder")
        (self.folder / "given.yaml").write_text(GIVEN)
        self.must("run", "given.yaml", trainer=real)
        subprocess.run(["rm", "-rf", str(self.folder / "folder")], check=True)
        self.keep("finished")

    def make_killed(self):
        self.clear()
        behaviour = self.home / "worker/cache/behaviour.json"
        behaviour.parent.mkdir(parents=True)
        behaviour.write_text(json.dumps({"default": {"ms_per_step": 40, "gate": "gate"}}))
        file = self.write_sweep("sweep", ["cable", "rope", "alibi"], 5120)
        self.interrupt(file, "longrun-fake-trainer", n_trainings=2, gate=behaviour.with_name("gate"))
        behaviour.with_name("gate").unlink()
        behaviour.write_text(json.dumps({"default": {"ms_per_step": 1}}))
        self.keep("killed")

    def make_trained(self):
        self.clear()
        file = self.write_sweep("sweep", ["cable", "rope"], 400_000, CHOICE)
        self.interrupt(file, "longrun-trainer", n_trainings=2, gate=None)
        self.keep("trained")

    def interrupt(self, file, trainer, n_trainings, gate):
        """Kills everything at once when the n-th training has written a checkpoint on its way."""
        process = self.start(["run", file, "--cpu-slots", "1"], trainer, out=subprocess.DEVNULL)
        limit = time.monotonic() + SECONDS_MAX
        attempts = self.home / "worker/attempts"
        while True:
            folders = sorted(attempts.iterdir()) if attempts.exists() else []
            trainings = [folder for folder in folders if self.has(folder / "task.json", b'"kind":"train"')]
            if len(trainings) >= n_trainings and self.has(trainings[n_trainings - 1] / "journal.jsonl", b'"kind":"checkpoint"'):
                break
            if process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"damage: {self.folder}: the sweep to be killed came to no moment for it")
            time.sleep(0.01)
        if gate is not None:
            gate.write_text("")
            time.sleep(0.5)  # what is on its way to the coordinator comes there
        process.kill()
        self.kill_all()
        process.wait()

    @staticmethod
    def has(path, words):
        return path.exists() and words in path.read_bytes()
