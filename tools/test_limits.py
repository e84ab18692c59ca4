"""Prints which tests of the last run came near their limit, at which a test that hangs is ended.

    test_limits.py BUILD RESULTS

RESULTS is what `ctest --output-junit` has written. A test that takes more than a third of its limit on this machine may
reach it on a slower one, or beside other programs: it needs shards, or a higher limit (cmake/LongrunTarget.cmake).
Standard library only.
"""
import json
import subprocess
import sys
import xml.etree.ElementTree

SHARE = 1 / 3


def limits_of(build):
    """The limit of each test in seconds."""
    text = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True, capture_output=True,
                          text=True).stdout
    return {test["name"]: one["value"] for test in json.loads(text)["tests"] for one in test.get("properties", [])
            if one["name"] == "TIMEOUT"}


def main():
    build, results = sys.argv[1:]
    times = {test.get("name"): float(test.get("time")) for test in xml.etree.ElementTree.parse(results).iter("testcase")}
    limits = limits_of(build)
    near = {name: time for name, time in times.items() if name in limits and time > SHARE * limits[name]}
    for name, time in sorted(near.items(), key=lambda one: one[1] / limits[one[0]], reverse=True):
        print(f"{name} took {time:.0f} s of {limits[name]:.0f} s")


if __name__ == "__main__":
    main()
