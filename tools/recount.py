"""Recomputes the perplexities of a table from the journals of the workers: a second opinion that shares no code with
the ingestion of results, nor with the program that prints the table.

  longrun table SWEEP -o json > table.json
  longrun query -o json "SELECT cell, variant, metric, context_length, value, nll_sum, n, attempt, seq FROM
    sweep_results WHERE sweep = 'SWEEP' AND newest = 1" > rows.json
  recount.py --table table.json --rows rows.json ATTEMPTS...

ATTEMPTS are the folders `attempts/` of all workers that the sweep had, those of lost hosts too. The script checks

  journals   every line's CRC32C and number; what a `final` record says about the records before it
  results    two complete attempts of one task measured the same bits
  rows       each number that counts is, bit for bit, the record of its attempt's journal, whose task ended with it;
             no number counts twice, and no task counts by two attempts
  table      each perplexity is exp(sum of the losses / number of tokens), over seeds the mean of the logarithms;
             no number is missing or too much

It prints one line for each difference. Exit code 0: all is equal; 1: something differs; 2: it could not read its input.

Standard library only.
"""
import argparse
import collections
import hashlib
import json
import math
import pathlib
import sys

# exp() and the sum over seeds may round differently here and there, each by less than an ulp of
# 2.2e-16. A wrong number differs by much more: losses have more than 10 significant digits.
RELATIVE = 4e-15
ROW_KEYS = ("cell", "variant", "metric", "context_length")


def crc32c_table():
    """The reflected polynomial of CRC32C (Castagnoli 1993)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Journal:
    """The records of one attempt, as far as its last whole line."""

    def __init__(self, path, complain):
        self.path = path
        self.records = []
        self.is_complete = False  # ends with a `final` that agrees with what is before it
        counts = collections.Counter()
        results = hashlib.sha256()
        for line in path.read_bytes().split(b"\n")[:-1]:
            record, problem = self.parse(line, len(self.records) + 1)
            if problem:
                complain(f"{path}: line {len(self.records) + 1}: {problem}")
                return
            if record["kind"] == "final":
                expected = {"counts": dict(counts), "digest": results.hexdigest()}
                if record["body"] != expected:
                    complain(f"{path}: its final record says {record['body']}, but its lines are {expected}")
                    return
                self.is_complete = True
            elif self.is_complete:
                complain(f"{path}: record {record['seq']} comes after the final record")
                return
            counts[record["kind"]] += 1
            if record["kind"] == "result":
                results.update(line + b"\n")
            self.records.append(record)
        first = self.records[0] if self.records else None
        if first and (first["kind"] != "attempt" or first["body"]["attempt"] != path.parent.name):
            complain(f"{path}: its first record is not about the attempt {path.parent.name}")

    @staticmethod
    def parse(line, seq):
        head, found, tail = line.rpartition(b',"crc":"')
        if not found or not tail.endswith(b'"}') or len(tail) != 10:
            return None, "it has no crc"
        crc = f"{crc32c(head):08x}"
        if tail[:8].decode("ascii", "replace") != crc:
            return None, f"its crc is {tail[:8].decode('ascii', 'replace')}, but that of its bytes is {crc}"
        record = json.loads(head + b"}")
        if record["seq"] != seq:
            return None, f"its number is {record['seq']}, expected {seq}"
        return record, None

    @property
    def task(self):
        return self.records[0]["body"]["task"] if self.records else None

    def results(self):
        """(key of a number) -> record, of the latest record for each."""
        return {key_of(r["body"]): r for r in self.records if r["kind"] == "result"}


def key_of(row):
    return tuple(row.get(name) for name in ROW_KEYS)


def name_of(key):
    cell, variant, metric, length = key
    return f"{metric} at length {length} of cell {cell[:12]}{f' ({variant})' if variant else ''}"


def read_journals(folders, complain):
    journals = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder of attempts, such as STATE/attempts of a worker")
        for path in sorted(folder.glob("*/journal.jsonl")):
            if path.parent.name in journals:
                complain(f"{path}: another host has a journal of this attempt, too")
            journals[path.parent.name] = Journal(path, complain)
    return journals


def check_results(journals, complain):
    """Every complete attempt of a task measured the same."""
    measured = {}
    for attempt, journal in sorted(journals.items()):
        if not journal.is_complete:
            continue
        for key, record in journal.results().items():
            body = record["body"]
            bits = (body["status"], body["value"], body.get("nll_sum"), body.get("n"))
            other_bits, other = measured.setdefault(key, (bits, attempt))
            # An evaluation's speed and memory are measurements of the machine.
            if bits != other_bits and key[2] == "nll":
                complain(f"{name_of(key)}: attempt {attempt} measured {bits}, attempt {other} measured {other_bits}")


def check_rows(rows, journals, complain):
    seen = {}
    attempt_of_task = {}
    for row in rows:
        key = key_of(row)
        if key in seen:
            complain(f"{name_of(key)}: counted twice, from attempts {seen[key]['attempt']} and {row['attempt']}")
        seen[key] = row
        journal = journals.get(row["attempt"])
        if journal is None:
            complain(f"{name_of(key)}: no host has a journal of attempt {row['attempt']}, from which it is")
            continue
        if not journal.is_complete:
            complain(f"{name_of(key)}: attempt {row['attempt']} counts, but its journal is not complete")
        other = attempt_of_task.setdefault(journal.task, row["attempt"])
        if other != row["attempt"]:
            complain(f"task {journal.task[:12]}: both attempts {other} and {row['attempt']} count")
        if not 0 < row["seq"] <= len(journal.records):
            complain(f"{name_of(key)}: {journal.path} has no record {row['seq']}")
            continue
        record = journal.records[row["seq"] - 1]
        body = record["body"]
        if record["kind"] != "result" or key_of(body) != key:
            complain(f"{name_of(key)}: record {row['seq']} of {journal.path} is about something else")
            continue
        for name in ("value", "nll_sum", "n"):
            if body.get(name) != row[name]:
                complain(f"{name_of(key)}: {name} is {row[name]!r}, but {body.get(name)!r} in record {row['seq']} of "
                         f"{journal.path}")
    # What an attempt that counts has measured counts as a whole.
    for attempt in set(attempt_of_task.values()):
        for key in journals[attempt].results():
            if key not in seen:
                complain(f"{name_of(key)}: attempt {attempt} measured it, but it does not count")
    return seen


def is_equal(a, b):
    return a is not None and b is not None and math.isclose(a, b, rel_tol=RELATIVE)


def check_table(tables, rows, journals, complain):
    """The number of perplexities that were recomputed."""
    n_recomputed = 0
    shown = set()
    for table in tables:
        if table["metric"] != "perplexity":
            raise ValueError(f"the table shows {table['metric']}: expected perplexity, without --metric")
        for row in table["rows"] + table["baselines"]:
            variant = row.get("name")  # of a baseline
            for cell in row["cells"]:
                logs = []
                for value in cell["values"]:
                    if value["cell"] is None:
                        continue
                    key = (value["cell"], variant, "nll", int(cell["context_length"]))
                    what = name_of(key)
                    shown.add(key)
                    if key not in rows or rows[key]["attempt"] != value["attempt"]:
                        complain(f"{what}: the table takes it from attempt {value['attempt']}, the rows from "
                                 f"{rows[key]['attempt'] if key in rows else 'none'}")
                        continue
                    journal = journals.get(value["attempt"])
                    record = journal.results().get(key) if journal else None
                    if record is None:
                        complain(f"{what}: no journal of attempt {value['attempt']} has it")
                        continue
                    body = record["body"]
                    log = body["nll_sum"] / body["n"]
                    logs.append(log)
                    if body["n"] != value["n"]:
                        complain(f"{what}: the table says {value['n']} tokens, the journal {body['n']}")
                    if not is_equal(value["value"], math.exp(log)):
                        complain(f"{what}: the table says {value['value']!r}, the journal {math.exp(log)!r}")
                if not logs:
                    continue
                mean = math.fsum(logs) / len(logs)
                if not is_equal(cell["perplexity"], math.exp(mean)):
                    complain(f"{row.get('position', variant)} at length {cell['context_length']}: the table says "
                             f"{cell['perplexity']!r}, the journals {math.exp(mean)!r}")
                n_recomputed += 1
    for key in rows:
        if key[2] == "nll" and key[1] is None and key not in shown:
            complain(f"{name_of(key)}: counts, but the table does not show it")
    return n_recomputed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=pathlib.Path, required=True, help="output of `longrun table SWEEP -o json`")
    parser.add_argument("--rows", type=pathlib.Path, required=True, help="output of `longrun query -o json` (see above)")
    parser.add_argument("attempts", type=pathlib.Path, nargs="+", help="the folder attempts/ of a worker")
    options = parser.parse_args()
    problems = []
    try:
        tables = json.loads(options.table.read_text())
        rows = json.loads(options.rows.read_text())
        journals = read_journals(options.attempts, problems.append)
        check_results(journals, problems.append)
        counting = check_rows(rows, journals, problems.append)
        n_recomputed = check_table(tables, counting, journals, problems.append)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"recount.py: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if n_recomputed == 0:
        problems.append("the table has no perplexity that could be recomputed")
    for problem in problems:
        print(problem)
    n_records = sum(len(journal.records) for journal in journals.values())
    print(f"recount: {n_recomputed} perplexities from {len(journals)} journals with {n_records} records in "
          f"{len(options.attempts)} folders: {f'{len(problems)} differences' if problems else 'all equal'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
