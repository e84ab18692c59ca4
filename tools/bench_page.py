"""What benchmarks have found, machine by machine: build/bench/results.json, and the tables of docs/benchmarks.md.

A machine is make, microarchitecture and instruction set ("AMD EPYC, Zen 5, AVX-512"), as `longrun doctor` names
them: another machine of the same name replaces what was found, one of another name stands beside it.

results.json is {"benchmarks": {NAME: {MACHINE: {"about": {...}, "measurements": [...]}}}}, of each pair the newest.
The page has what any machine found, and is the only place where other machines' results are kept:

    <!-- machines: begin -->      which machines, what was measured there, and when; written from the tables below
    <!-- machines: end -->
    <!-- measured: begin -->
    ### NAME
    #### MACHINE
    DATE, VERSION, LibTorch VERSION; N cores, load L at its start.
    | a table |
    <!-- measured: end -->

A table whose machine is not among the results stays byte for byte. Standard library only.
"""
import datetime
import json
import os
import re
import statistics
import subprocess
import tempfile

MACHINES = ("<!-- machines: begin -->", "<!-- machines: end -->")
MEASURED = ("<!-- measured: begin -->", "<!-- measured: end -->")
SIMD_NAMES = {"avx512": "AVX-512", "avx2": "AVX2"}
# "2026-11-21, longrun 0.1.0 (4b11cb0), protocol 1, numerics 1, LibTorch 2.11.0; 2 cores,
# load 0.3 at its start."
ABOUT = re.compile(r"(\d{4}-\d\d-\d\d), longrun \S+ \(\S+\), .*LibTorch \S+; \d+ cores?, load [\d.]+ at its start\.")


class Malformed(Exception):
    """What is wrong with a file, with its line and what to do."""


def about_machine(programs):
    """What stands beside a measurement: the machine by the programs of the build in folder `programs`, and the day."""
    with tempfile.TemporaryDirectory() as state:
        said = subprocess.run([str(programs / "longrun"), "--state", state, "doctor", "-o", "json"],
                              # 1: something else is not well.
                              check=False, capture_output=True, text=True)
    cpu = next((check for check in json.loads(said.stdout or '{"checks": []}')["checks"]
                if check["check"] == "cpu"), {})
    if "processor" not in cpu:
        raise Malformed(f"{programs}/longrun doctor does not name the processor: build the tree again\n{said.stderr}")
    version = subprocess.run([str(programs / "longrun"), "version"], check=True, capture_output=True,
                             text=True).stdout.strip()
    trainer = subprocess.run([str(programs / "longrun-trainer"), "--version"], check=True, capture_output=True,
                             text=True).stdout
    return {"machine": machine_name(cpu["processor"], cpu["simd"]), "linear": cpu["linear"], "version": version,
            "libtorch": trainer.rpartition("LibTorch ")[2].strip(), "cores": os.cpu_count(),
            "load": os.getloadavg()[0], "date": today()}


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def machine_name(processor, simd):
    return f"{processor}, {SIMD_NAMES.get(simd, simd)}"


# ---- results.json --------------------------------------------------------------------------------


def read_results(file):
    """{NAME: {MACHINE: {"about", "measurements"}}}; empty where there is no file yet."""
    if not file.exists():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    if "benchmarks" not in found:
        raise Malformed(f"{file}: not the results of this ./dev bench, which keeps them by machine: remove the file")
    return found["benchmarks"]


def write_results(file, results):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"benchmarks": results}, indent=1) + "\n", encoding="utf-8")


def keep(results, name, about, measurements):
    """Puts what a benchmark found into `results`, in the place of what the same machine found before."""
    results.setdefault(name, {})[about["machine"]] = {"about": about, "measurements": measurements}


# ---- rows ----------------------------------------------------------------------------------------


def spread(values):
    """(median, lower quartile, upper quartile)"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def text(values):
    median, lower, upper = spread(values)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:,.{digits}f} ({lower:,.{digits}f} - {upper:,.{digits}f})"


def row_of(one):
    return [one["name"], one["unit"], text(one["ours"]), text(one["baseline"]) if one["baseline"] else "-",
            text(one["ratio"]) if one["ratio"] else "-",
            "; ".join(filter(None, [one["what_baseline"], one["target"] and f"target {one['target']}"]))]


def table_of(found):
    """A machine's table under its heading."""
    about = found["about"]
    cores = f"{about['cores']} core" + ("" if about["cores"] == 1 else "s")
    return "\n".join(
        [f"#### {about['machine']}", "",
         f"{about['date']}, {about['version']}, LibTorch {about['libtorch']}; {cores}, load "
         f"{about['load']:.1f} at its start.",
         "", "| | unit | ours | baseline | ratio | beside |", "| --- | --- | ---: | ---: | ---: | --- |"]
        + ["| " + " | ".join(row_of(one)) + " |" for one in found["measurements"]])


# ---- the page ------------------------------------------------------------------------------------


def split_at(lines, markers, where):
    """(lines before and with the first marker, lines between, lines from the second marker on)"""
    ends = []
    for marker in markers:
        at = [i for i, line in enumerate(lines) if line == marker]
        if len(at) != 1:
            place = f":{at[1] + 1}" if at else ""
            raise Malformed(f"{where}{place}: expected the line {marker} once, found it {len(at)} times")
        ends += at
    if ends[0] > ends[1]:
        raise Malformed(f"{where}:{ends[1] + 1}: {markers[1]} stands before {markers[0]}")
    return lines[:ends[0] + 1], lines[ends[0] + 1:ends[1]], lines[ends[1]:]


def parse_tables(lines, first_line, where, names):
    """{NAME: {MACHINE: its lines as one text}} of the lines between the markers."""
    tables, name, machine, headed_at = {}, None, None, {}

    def wrong(i, what):
        raise Malformed(f"{where}:{first_line + i}: {what}")

    for i, line in enumerate(lines):
        if line.startswith("### "):
            name, machine = line.removeprefix("### "), None
            if name not in names:
                wrong(i, f'no benchmark is called "{name}" (there are {", ".join(names)}): give the heading its new '
                         "name, or remove the section with a benchmark that is gone")
            if name in tables:
                wrong(i, f'a second section "{name}": put its tables under the first')
            tables[name] = {}
        elif line.startswith("#### "):
            machine = line.removeprefix("#### ")
            if name is None:
                wrong(i, f'the table of "{machine}" stands under no benchmark: expected a line "### NAME" above it')
            if machine in tables[name]:
                wrong(i, f'a second table of "{machine}" under "{name}": remove the older one')
            tables[name][machine] = []
            headed_at[name, machine] = i
        elif machine is not None:
            tables[name][machine].append(line)
        elif line:
            wrong(i, f'expected a heading "### NAME" or "#### MACHINE", found "{line}"')
    for (name, machine), i in headed_at.items():
        found = [(j, line) for j, line in enumerate(tables[name][machine], i + 1) if line]
        if not found or not ABOUT.fullmatch(found[0][1]):
            wrong(found[0][0] if found else i, 'expected "DATE, longrun VERSION (COMMIT), ..., LibTorch VERSION; N '
                                               f'cores, load L at its start." under "{machine}"')
        for j, line in found[1:]:
            if not line.startswith("| ") or not line.endswith("|"):
                wrong(j, f'expected a row of a table, "| ... |", found "{line}"')
        if len(found) < 4:
            wrong(i, f'"{machine}" has no table')
        tables[name][machine] = "\n".join([f"#### {machine}"] + tables[name][machine]).rstrip("\n")
    return tables


def date_of(table):
    return next(found.group(1) for found in map(ABOUT.fullmatch, table.split("\n")) if found)


def dates_text(dates):
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def overview_of(tables, names):
    """Which machines have tables, of what, and of which days."""
    rows = ["| make and instruction set | measured | benchmarks |", "| --- | --- | --- |"]
    for machine in sorted({machine for found in tables.values() for machine in found}):
        there = [name for name in names if machine in tables.get(name, {})]
        dates = sorted({date_of(tables[name][machine]) for name in there})
        rows.append(f"| {machine} | {dates_text(dates)} | {', '.join(f'`{name}`' for name in there)} |")
    return rows


def render(page, where, names, results):
    """The page with the tables of `results` in the place of the same machines', and with all others as they are.
    `names`: all benchmarks, in the page's order."""
    before, known, after = split_at(page.split("\n"), MEASURED, where)
    tables = parse_tables(known, len(before) + 1, where, names)
    for name, machines in results.items():
        for machine, found in machines.items():
            tables.setdefault(name, {})[machine] = table_of(found)
    body = [""]
    for name in names:
        if tables.get(name):
            body += [f"### {name}", ""]
            for machine in sorted(tables[name]):
                body += tables[name][machine].split("\n") + [""]
    head, _, tail = split_at(before, MACHINES, where)
    return "\n".join(head + [""] + overview_of(tables, names) + [""] + tail + body + after)


def write_page(page, names, results):
    """Writes `results` into the page; returns what was left out, "NAME", for want of a benchmark of this name."""
    strange = sorted(set(results) - set(names))
    known = {name: found for name, found in results.items() if name in names}
    page.write_text(render(page.read_text(encoding="utf-8"), page, names, known), encoding="utf-8")
    return strange
