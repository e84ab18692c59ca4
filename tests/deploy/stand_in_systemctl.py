#!/usr/bin/env python3
"""Does with our units what systemctl does on a machine where systemd runs: for the maintainer scripts of the .deb.

Understands start, stop, try-restart, is-active, kill, daemon-reload and preset, and of a unit what the two units of
deploy/systemd/ use: ExecStart with the words of its EnvironmentFile, User, StateDirectory, UMask, KillSignal,
TimeoutStopSec, Restart, RestartSec and RestartPreventExitStatus. Anything else fails, so that a maintainer script
cannot rely on something that was never tried. As under KillMode=process, only the main process is stopped.

A started unit has a supervisor, which is this script: it starts the main process again as Restart says.
"""
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

RUN = pathlib.Path("/run/stand_in")
UNITS = pathlib.Path("/usr/lib/systemd/system")


def read_unit(name):
    """The last value of each key, and all of ExecStart's words with the environment's put in."""
    unit = dict(re.findall(r"^(\w+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE))
    settings = {}
    environment = unit.get("EnvironmentFile", "")
    if environment and pathlib.Path(environment.lstrip("-")).exists():
        text = pathlib.Path(environment.lstrip("-")).read_text()
        settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    unit["argv"] = []
    for word in shlex.split(unit["ExecStart"]):
        unit["argv"] += settings.get(word[1:], "").split() if word.startswith("$") else [word]
    unit["settings"] = settings
    return unit


def seconds(text):
    return float(text.removesuffix("s"))


def wait_until(condition, limit_s):
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def main_pid(name):
    try:
        return int((RUN / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def is_active(name):
    return (RUN / f"{name}.supervised").exists()


def supervise(name):
    stop = RUN / f"{name}.stop"
    while True:
        unit = read_unit(name)  # after an upgrade, the new one
        for folder in unit["StateDirectory"].split():
            path = pathlib.Path("/var/lib") / folder
            path.mkdir(mode=int(unit["StateDirectoryMode"], 8), exist_ok=True)
        process = subprocess.Popen(
            unit["argv"], user=unit["User"], group=unit["Group"], extra_groups=[], umask=int(unit["UMask"], 8), cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/var/lib/longrun", **unit["settings"]}, stdin=subprocess.DEVNULL)
        (RUN / f"{name}.pid").write_text(str(process.pid))
        code = process.wait()
        print(f"{name} ended with {code}", flush=True)
        failed = code != 0
        again = unit["Restart"] == "always" or (unit["Restart"] == "on-failure" and failed)
        if str(code) in unit["RestartPreventExitStatus"].split() or not again:
            break
        if wait_until(stop.exists, seconds(unit["RestartSec"])):
            break
    for path in (RUN / f"{name}.pid", stop, RUN / f"{name}.supervised"):
        path.unlink(missing_ok=True)


def start(name):
    if is_active(name):
        return
    (RUN / f"{name}.supervised").touch()
    if os.fork() != 0:
        return
    os.setsid()  # the supervisor outlives dpkg, and must not hold its output open
    log = os.open(RUN / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    supervise(name)
    os._exit(0)


def stop(name):
    if not is_active(name):
        return
    unit = read_unit(name)
    (RUN / f"{name}.stop").touch()
    pid = main_pid(name)
    if pid is not None:
        os.kill(pid, getattr(signal, unit["KillSignal"]))
    if not wait_until(lambda: not is_active(name), seconds(unit["TimeoutStopSec"])):
        os.kill(main_pid(name), signal.SIGKILL)
        sys.exit(f"{name} did not stop within {unit['TimeoutStopSec']}")


def main(arguments):
    with (RUN / "calls").open("a") as calls:
        print(*arguments, file=calls)
    if "preset" in arguments:  # only changes links: the real one needs no systemd for it
        os.execv("/usr/bin/systemctl", ["systemctl", *arguments])
    options = [word for word in arguments if word.startswith("-")]
    verb, *names = [word for word in arguments if not word.startswith("-")]
    known = {"--system", "--quiet"} | ({"--kill-whom=main", "--signal=SIGKILL"} if verb == "kill" else set())
    if not set(options) <= known or (verb == "kill" and "--kill-whom=main" not in options):
        sys.exit(f"stand-in for systemctl: not known: {arguments}")
    if verb == "daemon-reload":
        return 0
    if verb == "is-active":
        return 0 if is_active(names[0]) else 3
    for name in names:
        if verb == "start":
            start(name)
        elif verb == "stop":
            stop(name)
        elif verb == "try-restart":
            if is_active(name):
                stop(name)
                start(name)
        elif verb == "kill":
            os.kill(main_pid(name), signal.SIGKILL)
        else:
            sys.exit(f"stand-in for systemctl: not known: {arguments}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
