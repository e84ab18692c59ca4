"""tools/recount.py over journals that are made here: it accepts a table that follows from them, and names each
difference of one that does not."""
import contextlib
import copy
import hashlib
import io
import json
import math
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import recount  # noqa: E402

CELLS = {"a" * 64: (64, 5120.5, 2048), "b" * 64: (128, 5000.25, 2048)}


def line_of(seq, kind, body):
    head = json.dumps({"body": body, "kind": kind, "seq": seq, "step": None, "t_ms": 1}, sort_keys=True,
                      separators=(",", ":"))[:-1].encode()
    return head + f',"crc":"{recount.crc32c(head):08x}"'.encode() + b"}\n"


def journal_of(attempt, cells, task="t" * 64, with_final=True):
    lines = [line_of(1, "attempt", {"attempt": attempt, "task": task}), line_of(2, "started", {})]
    results = hashlib.sha256()
    for cell, (length, nll_sum, n) in cells.items():
        body = {"cell": cell, "metric": "nll", "context_length": length, "variant": None, "status": "ok",
                "value": nll_sum / n, "nll_sum": nll_sum, "n": n}
        lines.append(line_of(len(lines) + 1, "result", body))
        results.update(lines[-1])
    if with_final:
        counts = {"attempt": 1, "started": 1, "result": len(cells)}
        lines.append(line_of(len(lines) + 1, "final", {"counts": counts, "digest": results.hexdigest()}))
    return lines


class RecountTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.hosts = [self.folder / "gpu-1", self.folder / "gpu-2"]
        self.write("gpu-1", "LOST", journal_of("LOST", dict(list(CELLS.items())[:1]), with_final=False))
        self.write("gpu-2", "GOOD", journal_of("GOOD", CELLS))
        self.rows = [{"cell": cell, "variant": None, "metric": "nll", "context_length": length,
                      "value": nll_sum / n, "nll_sum": nll_sum, "n": n, "attempt": "GOOD", "seq": 3 + i}
                     for i, (cell, (length, nll_sum, n)) in enumerate(CELLS.items())]
        self.table = [{"metric": "perplexity", "baselines": [], "rows": [{"position": "rope", "cells": [
            {"context_length": length, "perplexity": math.exp(nll_sum / n), "values": [
                {"cell": cell, "attempt": "GOOD", "n": n, "value": math.exp(nll_sum / n)}]}
            for cell, (length, nll_sum, n) in CELLS.items()]}]}]

    def write(self, host, attempt, lines):
        folder = self.folder / host / attempt
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "journal.jsonl").write_bytes(b"".join(lines))

    def run_it(self):
        (self.folder / "table.json").write_text(json.dumps(self.table))
        (self.folder / "rows.json").write_text(json.dumps(self.rows))
        said = io.StringIO()
        arguments = ["recount.py", "--table", str(self.folder / "table.json"), "--rows",
                     str(self.folder / "rows.json"), *map(str, self.hosts)]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            old, sys.argv = sys.argv, arguments
            try:
                code = recount.main()
            finally:
                sys.argv = old
        return code, said.getvalue()

    def assert_differs(self, *words):
        code, said = self.run_it()
        self.assertEqual(code, 1, said)
        for word in words:
            self.assertIn(word, said)

    def test_a_table_that_follows_from_the_journals_is_accepted(self):
        code, said = self.run_it()
        self.assertEqual(code, 0, said)
        self.assertIn("2 perplexities from 2 journals", said)

    def test_crc_is_that_of_its_published_check_value(self):
        self.assertEqual(recount.crc32c(b"123456789"), 0xE3069283)  # Koopman's catalogue, CRC-32C

    def test_a_wrong_perplexity_is_named(self):
        self.table[0]["rows"][0]["cells"][1]["perplexity"] *= 1 + 1e-9
        self.assert_differs("rope at length 128: the table says", "the journals")

    def test_a_wrong_value_of_a_seed_is_named(self):
        self.table[0]["rows"][0]["cells"][0]["values"][0]["value"] *= 1 + 1e-9
        self.assert_differs("nll at length 64 of cell aaaaaaaaaaaa: the table says")

    def test_a_row_with_other_bits_is_named(self):
        self.rows[0]["nll_sum"] = math.nextafter(self.rows[0]["nll_sum"], math.inf)
        self.assert_differs("nll_sum is", "record 3 of")

    def test_a_number_that_counts_twice_is_named(self):
        self.rows.append(copy.deepcopy(self.rows[0]))
        self.assert_differs("counted twice, from attempts GOOD and GOOD")

    def test_two_attempts_of_a_task_that_count_are_named(self):
        self.write("gpu-1", "LOST", journal_of("LOST", CELLS))
        self.rows[0]["attempt"] = "LOST"
        self.assert_differs("task tttttttttttt: both attempts", "the table takes it from attempt GOOD")

    def test_an_unfinished_attempt_that_counts_is_named(self):
        self.write("gpu-2", "GOOD", journal_of("GOOD", CELLS, with_final=False))
        self.assert_differs("attempt GOOD counts, but its journal is not complete")

    def test_two_complete_attempts_that_measured_other_bits_are_named(self):
        other = {cell: (length, nll_sum + 1e-9, n) for cell, (length, nll_sum, n) in CELLS.items()}
        self.write("gpu-1", "LOST", journal_of("LOST", other))
        self.assert_differs("attempt LOST measured", "attempt GOOD measured")

    def test_a_missing_journal_is_named(self):
        self.hosts.pop()
        self.assert_differs("no host has a journal of attempt GOOD")

    def test_a_missing_number_is_named(self):
        self.rows.pop()
        self.table[0]["rows"][0]["cells"].pop()
        self.assert_differs("nll at length 128", "measured it, but it does not count")

    def test_a_number_that_the_table_hides_is_named(self):
        self.table[0]["rows"][0]["cells"].pop()
        self.assert_differs("counts, but the table does not show it")

    def test_a_flipped_byte_is_named(self):
        lines = journal_of("GOOD", CELLS)
        lines[2] = lines[2].replace(b"5120.5", b"5120.6")
        self.write("gpu-2", "GOOD", lines)
        self.assert_differs("line 3: its crc is")

    def test_a_lost_line_is_named(self):
        lines = journal_of("GOOD", CELLS)
        del lines[2]
        self.write("gpu-2", "GOOD", lines)
        self.assert_differs("line 3: its number is 4, expected 3")

    def test_an_unfinished_last_line_is_no_difference(self):
        path = self.hosts[0] / "LOST" / "journal.jsonl"
        path.write_bytes(path.read_bytes() + b'{"body":{"cell"')
        code, said = self.run_it()
        self.assertEqual(code, 0, said)

    def test_a_wrong_final_record_is_named(self):
        lines = journal_of("GOOD", CELLS)
        lines[-1] = line_of(5, "final", {"counts": {"attempt": 1, "started": 1, "result": 3}, "digest": "0" * 64})
        self.write("gpu-2", "GOOD", lines)
        self.assert_differs("its final record says")

    def test_input_that_is_none_is_an_error(self):
        self.hosts.append(self.folder / "nowhere")
        code, said = self.run_it()
        self.assertEqual(code, 2)
        self.assertIn("expected a folder of attempts", said)


if __name__ == "__main__":
    unittest.main()
