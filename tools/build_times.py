"""Prints what a build cost, from ninja's log: seconds of compilation by folder, and the slowest sources.

Only the newest entry of each output is in the log, so that after a partial build, or with a warm compiler
cache, the times are those of different builds. For a table that means something:

    rm -rf build/release && CCACHE_RECACHE=1 ./dev build && python3 tools/build_times.py

Standard library only.
"""
import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOWEST = 20


def read_log(path):
    """Seconds of each object file, by its source."""
    seconds = {}
    for line in path.read_text().splitlines():
        fields = line.split("\t")
        # The log still has the outputs of sources that were removed.
        if len(fields) != 5 or not fields[3].endswith((".o", ".gch")) or not (path.parent / fields[3]).exists():
            continue
        folder, _, rest = fields[3].partition("/CMakeFiles/")
        source = rest.split("/", 1)[1].removesuffix(".o")
        seconds[f"{folder}/{source}"] = (int(fields[1]) - int(fields[0])) / 1000
    return seconds


def main():
    log = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/.ninja_log")
    if not log.exists():
        sys.exit(f"{log} does not exist: build first (./dev build), or name the .ninja_log of a build")
    seconds = read_log(log)
    folders = collections.defaultdict(list)
    for source, took in seconds.items():
        folders[str(pathlib.PurePath(source).parent)].append(took)
    print(f"{sum(seconds.values()):8.0f} s  {len(seconds):4} sources")
    for folder, took in sorted(folders.items(), key=lambda entry: -sum(entry[1]))[:SLOWEST]:
        print(f"{sum(took):8.0f} s  {len(took):4} sources  {folder}")
    print()
    for source, took in sorted(seconds.items(), key=lambda entry: -entry[1])[:SLOWEST]:
        print(f"{took:8.1f} s  {source}")


if __name__ == "__main__":
    main()
