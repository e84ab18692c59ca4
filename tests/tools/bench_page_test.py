"""tools/bench_page.py: the tables of several machines in one page and one file of results."""
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import bench  # noqa: E402
import bench_page  # noqa: E402

AMD, INTEL = "AMD EPYC, Zen 5, AVX-512", "Intel Xeon, Sapphire Rapids, AVX-512"
NAMES = ["start", "linear"]
EMPTY = """# Benchmarks

<!-- machines: begin -->
<!-- machines: end -->

Words by hand.

<!-- measured: begin -->
<!-- measured: end -->

More words.
"""
# What render() makes of EMPTY and the results below, written by hand.
TWO_MACHINES = """# Benchmarks

<!-- machines: begin -->

| make and instruction set | measured | benchmarks |
| --- | --- | --- |
| AMD EPYC, Zen 5, AVX-512 | 2026-11-19 to 2026-11-21 | `start`, `linear` |
| Intel Xeon, Sapphire Rapids, AVX-512 | 2026-11-22 | `linear` |

<!-- machines: end -->

Words by hand.

<!-- measured: begin -->

### start

#### AMD EPYC, Zen 5, AVX-512

2026-11-19, longrun 0.1.0 (abc), protocol 1, numerics 1, LibTorch 2.11.0; 2 cores, load 0.5 at its start.

| | unit | ours | baseline | ratio | beside |
| --- | --- | ---: | ---: | ---: | --- |
| one | ms | 2.00 (2.00 - 2.00) | 4.00 (4.00 - 4.00) | 0.50 (0.50 - 0.50) | /bin/true; target < 50 |

### linear

#### AMD EPYC, Zen 5, AVX-512

2026-11-21, longrun 0.1.0 (abc), protocol 1, numerics 1, LibTorch 2.11.0; 2 cores, load 0.5 at its start.

| | unit | ours | baseline | ratio | beside |
| --- | --- | ---: | ---: | ---: | --- |
| one | ms | 3.00 (3.00 - 3.00) | - | - |  |

#### Intel Xeon, Sapphire Rapids, AVX-512

2026-11-22, longrun 0.1.0 (abc), protocol 1, numerics 1, LibTorch 2.11.0; 1 core, load 0.5 at its start.

| | unit | ours | baseline | ratio | beside |
| --- | --- | ---: | ---: | ---: | --- |
| one | ms | 2.00 (1.50 - 2.50) | - | - |  |

<!-- measured: end -->

More words.
"""


def about(machine, date, cores=2):
    return {"machine": machine, "linear": "aten/x", "date": date, "version": "longrun 0.1.0 (abc), protocol 1, numerics 1",
            "libtorch": "2.11.0", "cores": cores, "load": 0.5}


def results_of(*found):
    results = {}
    for name, told, ours, baseline in found:
        one = bench.measured("one", "ms", ours, baseline, "/bin/true" if baseline else None, "< 50" if baseline else None)
        bench_page.keep(results, name, told, [one])
    return results


BOTH = results_of(("linear", about(INTEL, "2026-11-22", cores=1), [1.0, 2.0, 3.0], None),
                  ("linear", about(AMD, "2026-11-21"), [3.0], None),
                  ("start", about(AMD, "2026-11-19"), [2.0], [4.0]))


def render(page, results, names=None):
    return bench_page.render(page, "page.md", names or NAMES, results)


def section_of(page, machine, name):
    """From a machine's heading under a benchmark to the next heading."""
    return page.split(f"### {name}\n")[1].split(f"#### {machine}\n")[1].split("\n#")[0]


class PageTest(unittest.TestCase):
    maxDiff = None

    def refused(self, page, what):
        with self.assertRaises(bench_page.Malformed) as refused:
            render(page, {})
        self.assertTrue(str(refused.exception).startswith(what), str(refused.exception))

    def test_two_machines_stand_side_by_side(self):
        self.assertEqual(render(EMPTY, BOTH), TWO_MACHINES)

    def test_a_machine_that_measures_again_leaves_the_other_byte_for_byte(self):
        again = results_of(("linear", about(INTEL, "2026-11-23"), [9.0], None))
        page = render(TWO_MACHINES, again)
        self.assertIn("9.00", section_of(page, INTEL, "linear"))
        self.assertIn("| Intel Xeon, Sapphire Rapids, AVX-512 | 2026-11-23 | `linear` |", page)
        old, new = section_of(TWO_MACHINES, INTEL, "linear"), section_of(page, INTEL, "linear")
        self.assertEqual(page.replace(new, old).replace("| 2026-11-23 |", "| 2026-11-22 |"), TWO_MACHINES)

    def test_what_was_written_otherwise_by_another_version_stays_as_it_is(self):
        page = TWO_MACHINES.replace("| one | ms | 3.00 (3.00 - 3.00) | - | - |  |", "| ONE, by hand | ms | 3 |")
        self.assertEqual(render(page, {}), page)

    def test_nothing_found_changes_nothing(self):
        self.assertEqual(render(TWO_MACHINES, {}), TWO_MACHINES)

    def test_a_new_benchmark_takes_its_place_in_the_order_of_the_benchmarks(self):
        page = render(TWO_MACHINES, results_of(("more", about(AMD, "2026-11-21"), [1.0], None)), ["start", "more", "linear"])
        self.assertLess(page.index("### start"), page.index("### more"))
        self.assertLess(page.index("### more"), page.index("### linear"))

    def test_a_benchmark_that_was_renamed_or_removed_is_asked_about_by_its_line(self):
        self.refused(TWO_MACHINES.replace("### linear", "### lineer"),
                     'page.md:26: no benchmark is called "lineer" (there are start, linear): give the heading its new')

    def test_results_of_a_benchmark_that_is_gone_are_left_out_and_said(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            page.write_text(TWO_MACHINES, encoding="utf-8")
            gone = results_of(("gone", about(AMD, "2026-11-21"), [1.0], None))
            self.assertEqual(bench_page.write_page(page, NAMES, gone), ["gone"])
            self.assertEqual(page.read_text(encoding="utf-8"), TWO_MACHINES)

    def test_a_malformed_page_is_refused_by_its_line(self):
        for found, instead, what in [
            ("<!-- measured: end -->", "", "page.md: expected the line <!-- measured: end --> once, found it 0 times"),
            ("More words.", "<!-- measured: end -->",
             "page.md:46: expected the line <!-- measured: end --> once, found it 2 times"),
            ("<!-- machines: begin -->", "", "page.md: expected the line <!-- machines: begin --> once"),
            ("### start\n", "#### start\n", 'page.md:16: the table of "start" stands under no benchmark'),
            ("### start\n", "words\n", 'page.md:16: expected a heading "### NAME" or "#### MACHINE", found "words"'),
            ("### linear", "### start", 'page.md:26: a second section "start"'),
            (f"#### {INTEL}", f"#### {AMD}", f'page.md:36: a second table of "{AMD}" under "linear"'),
            ("2026-11-22, longrun", "yesterday, longrun", 'page.md:38: expected "DATE, longrun VERSION'),
            ("\n| one | ms | 2.00 (1.50", "\nwords 2.00 (1.50", 'page.md:42: expected a row of a table, "| ... |", found "words'),
        ]:
            with self.subTest(what):
                self.assertIn(found, TWO_MACHINES)
                self.refused(TWO_MACHINES.replace(found, instead, 1), what)

    def test_a_machine_without_a_table_is_refused_by_its_line(self):
        lines = TWO_MACHINES.split("\n")
        self.refused("\n".join(lines[:39] + lines[42:]), f'page.md:36: "{INTEL}" has no table')

    def test_the_page_of_this_tree_is_as_it_would_be_written(self):
        page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
        self.assertEqual(bench_page.render(page, "docs/benchmarks.md", list(bench.BENCHES), {}), page)


class ResultsTest(unittest.TestCase):
    def test_each_machine_keeps_its_newest_results(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "bench/results.json"
            self.assertEqual(bench_page.read_results(file), {})
            bench_page.write_results(file, BOTH)
            results = bench_page.read_results(file)
            self.assertEqual(results, BOTH)
            bench_page.keep(results, "linear", about(INTEL, "2026-11-23"), [])
            self.assertEqual(results["linear"][INTEL]["about"]["date"], "2026-11-23")
            self.assertEqual(results["linear"][AMD], BOTH["linear"][AMD])

    def test_results_that_do_not_say_of_which_machine_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "results.json"
            file.write_text('{"start": {"machine": {}, "measurements": []}}', encoding="utf-8")
            with self.assertRaises(bench_page.Malformed) as refused:
                bench_page.read_results(file)
            self.assertIn("remove the file", str(refused.exception))

    def test_a_machine_is_named_by_its_processor_and_instruction_set(self):
        self.assertEqual(bench_page.machine_name("AMD EPYC, Zen 5", "avx512"), AMD)
        self.assertEqual(bench_page.machine_name("Arm Neoverse V2", "neon"), "Arm Neoverse V2, neon")

    # The doctor's exit code is 1 where something else is not well.
    def test_a_machine_is_what_the_programs_of_the_build_say(self):
        with tempfile.TemporaryDirectory() as folder:
            programs = pathlib.Path(folder)
            cpu = {"check": "cpu", "processor": "AMD EPYC, Zen 5", "simd": "avx512", "linear": "onednn/AuthenticAMD"}
            self.write(programs / "longrun", f"""case "$*" in
                version) echo "longrun 0.1.0 (abc), protocol 1" ;;
                "--state "*" doctor -o json") echo '{json.dumps({"checks": [{"check": "gpu"}, cpu]})}'; exit 1 ;;
                esac""")
            self.write(programs / "longrun-trainer", 'echo "longrun-trainer 0.1.0 (abc), numerics 1, LibTorch 2.11.0"')
            told = bench_page.about_machine(programs)
            self.assertEqual((told["machine"], told["linear"], told["libtorch"], told["version"]),
                             (AMD, "onednn/AuthenticAMD", "2.11.0", "longrun 0.1.0 (abc), protocol 1"))

    def test_a_build_whose_doctor_does_not_name_the_processor_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            programs = pathlib.Path(folder)
            for said in ["""echo '{"checks": [{"check": "cpu", "found": "AVX2 is there"}]}'""", "echo broken >&2; exit 1"]:
                self.write(programs / "longrun", said)
                with self.assertRaises(bench_page.Malformed) as refused:
                    bench_page.about_machine(programs)
                self.assertIn("does not name the processor: build the tree again", str(refused.exception))

    def write(self, program, script):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)


if __name__ == "__main__":
    unittest.main()
