#!/usr/bin/env python3
"""clang-tidy over the sources named, as errors; what was clean and has not changed since is not read again.

  tools/lint.py BUILD FILE...

A file's state is its own text, that of every header that its last compilation read (ninja's own record;
a file never compiled is always read), its command line, the rules and clang-tidy's version. States seen
clean are kept in BUILD/lint-clean. Exits 1 when anything was found."""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import threading


def dependencies(build):
    """Source (absolute path) -> what ninja noted that its object was made from."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, capture_output=True, text=True).stdout
    of_source = {}
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if len(lines) > 1 and "(VALID)" in lines[0]:
            paths = [os.path.normpath(os.path.join(build, line.strip())) for line in lines[1:]]
            of_source[paths[0]] = paths
    return of_source


class Reader:
    """Hashes of files; a header outside the checkout is told by its size and time alone."""

    def __init__(self, root, build):
        self.inside = (root + "/", build + "/")
        self.outside = os.path.join(root, ".venv") + "/"
        self.known = {}

    def state(self, path):
        if path not in self.known:
            if path.startswith(self.inside) and not path.startswith(self.outside):
                with open(path, "rb") as file:
                    self.known[path] = hashlib.sha256(file.read()).hexdigest()
            else:
                stat = os.stat(path)
                self.known[path] = f"{stat.st_size} {stat.st_mtime_ns}"
        return self.known[path]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    root, build = os.getcwd(), os.path.abspath(sys.argv[1])
    with open(os.path.join(build, "compile_commands.json")) as file:
        entries = json.load(file)
    # clang cannot read GCC's precompiled headers; each source includes what it needs anyway.
    for entry in entries:
        entry["command"] = re.sub(r" -Winvalid-pch| -include \S*cmake_pch\.hxx", "", entry["command"])
    commands = {os.path.normpath(entry["file"]): entry["command"] for entry in entries}
    without_headers = os.path.join(build, "lint")
    os.makedirs(without_headers, exist_ok=True)
    with open(os.path.join(without_headers, "compile_commands.json"), "w") as file:
        json.dump(entries, file)
    with open(".clang-tidy", "rb") as file:
        rules = file.read()
    version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True).stdout
    made_from, reader = dependencies(build), Reader(root, build)

    def key(path):
        paths = made_from.get(path)
        if paths is None or not all(os.path.exists(p) for p in paths):
            return None
        state = hashlib.sha256(rules + version + commands[path].encode())
        for p in paths:
            state.update(f"{p} {reader.state(p)}\n".encode())
        return state.hexdigest()

    store = os.path.join(build, "lint-clean")
    clean = set()
    if os.path.exists(store):
        with open(store) as file:
            clean = set(file.read().split())

    todo, built = [], 0
    for name in sys.argv[2:]:
        path = os.path.join(root, name)
        if path not in commands:
            continue  # left out of this build: a device's half, or an option that is off
        built += 1
        state = key(path)
        if state is None or state not in clean:
            todo.append((name, path, state))
    print(f"lint: {len(todo)} files to read, {built - len(todo)} unchanged since they were clean, "
          f"{len(sys.argv) - 2 - built} not in this build", flush=True)

    lock, found, done = threading.Lock(), [], 0

    def read(item):
        nonlocal done
        name, path, state = item
        tidy = subprocess.run(["clang-tidy", "-p", without_headers, "--quiet", "--warnings-as-errors=*", path],
                              capture_output=True, text=True)
        with lock:
            done += 1
            if tidy.returncode != 0:
                found.append(name)
                print(f"[{done}/{len(todo)}] {name}\n{tidy.stdout}{tidy.stderr}", flush=True)
            elif state is not None:
                with open(store, "a") as file:
                    file.write(state + "\n")

    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        list(pool.map(read, todo))
    print(f"lint: {len(todo)} files read, {len(found)} with findings" + "".join(f"\n  {n}" for n in sorted(found)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
