"""The packages that CPack made: unpacked or installed, run, moved or upgraded, and removed.

  packages_test.py FOLDER SOURCE TESTS

FOLDER has the packages. SOURCE is the source tree: no file of a package may contain its path, and it is hidden from the
tests that have a root of their own. TESTS is one of

  Tarball    the tarball at one path and, moved, at another
  Bare       the tarball on a machine that has glibc and nothing else
  Debian     the .deb installed, running, upgraded, removed and purged

Bare and Debian run in namespaces: of the machine's files and processes nothing is changed, whatever happens. Debian's
root is an overlay of the machine's, so that packages that are installed there are installed in it too. Exit code 77:
this machine cannot make such namespaces, or is not Debian; the output says which.
"""
import csv
import fcntl
import io
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

EXIT_SKIPPED = 77
PROGRAMS = ["longrun", "longrun-coordinator", "longrun-trainer", "longrun-worker"]
# The shared libraries of glibc, which the tarball does not contain.
GLIBC = re.compile(r"^(ld-linux-.*|lib(c|m|mvec|dl|rt|pthread|util|resolv|anl|nsl)\.so\..*)$")
# README.md says it: Debian 12 has this one.
GLIBC_MOST = (2, 36)
LIMIT_S = 120
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # of <linux/sockios.h> and <net/if.h>

SWEEP = """\
apiVersion: longrun/v1
kind: Sweep
metadata: {name: NAME}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
  matrix: {position: [POSITIONS], train_length: [32], dataset: [words], seed: [1]}
  train: {tokens: TOKENS, batch_tokens: BATCH, optimizer: {lr: 1.0e-3}, schedule: {warmup_tokens: 256}}
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap, score_tokens: 1024}
"""


def sweep(name, positions, tokens, batch):
    text = SWEEP
    for word, value in (("NAME", name), ("POSITIONS", positions), ("TOKENS", tokens), ("BATCH", batch)):
        text = text.replace(word, str(value))
    return text


def write_texts(folder):
    """words.txt to train on, held_out.txt, and small.yaml: two models of a few kilobytes."""
    words = random.Random(1)
    for name, count in (("words.txt", 4000), ("held_out.txt", 1000)):
        text = " ".join("".join(words.choices("abcdefgh", k=words.randint(1, 7))) for _ in range(count))
        (folder / name).write_text(text + "\n")
    (folder / "small.yaml").write_text(sweep("small", "cable, rope", 2048, 256))


def numbers(table):
    """Perplexity by position and context length, of `longrun table -o csv`."""
    rows = csv.DictReader(io.StringIO(table))
    return {(row["position"], row["context_length"]): row["perplexity"] for row in rows if row["position"]}


def wait_until(what, condition, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(0.05)
    return value


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def run(*argv, **options):
    """Its standard output; a failure shows everything that it printed."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    ended = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=LIMIT_S, **options)
    if ended.returncode != 0:
        raise AssertionError(f"{argv} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


class Packages:
    # Set by main(). In `place`, tests mount what they need; their parent process removes it.
    folder = source = place = None

    @classmethod
    def only(cls, pattern):
        found = list(cls.folder.glob(pattern))
        assert len(found) == 1, f"{cls.folder}: expected one {pattern}, found {found}"
        return found[0]

    @classmethod
    def unpack(cls, target):
        """Its top folder."""
        archive = cls.only("longrun-*.tar.zst")
        run("tar", "--extract", "--zstd", "--file", archive, "--directory", target)
        top = target / archive.name.removesuffix(".tar.zst")
        assert list(target.iterdir()) == [top], "the tarball's files are in one folder, named as the file"
        return top


def is_elf(path):
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


class Tarball(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="longrun-packages-")
        cls.addClassCleanup(cls.place.cleanup)
        cls.first = pathlib.Path(cls.place.name) / "first place"
        cls.first.mkdir()
        cls.top = Packages.unpack(cls.first)

    def longrun(self, top, home, *argv):
        environment = {"PATH": f"{top}/bin:/usr/bin:/bin", "HOME": str(home), "OMP_NUM_THREADS": "1",
                       "OMP_WAIT_POLICY": "passive"}
        return run("longrun", "--state", home / "state", *argv, cwd=home, env=environment,
                   executable=top / "bin/longrun")

    def run_sweep(self, top, home):
        write_texts(home)
        self.longrun(top, home, "data", "import", "words", "--train", "words.txt", "--validation", "held_out.txt")
        self.longrun(top, home, "run", "small.yaml")
        table = numbers(self.longrun(top, home, "table", "small", "-o", "csv"))
        self.assertEqual(set(table), {(p, n) for p in ("cable", "rope") for n in ("32", "64")})
        self.assertTrue(all(float(value) > 1 for value in table.values()), table)
        return table

    def test_runs_a_sweep_where_it_was_unpacked_and_where_it_was_moved(self):
        version = Packages.only("longrun-*.tar.zst").name.split("-")[1]
        tables = []
        for place in ("first place", "second"):
            top = pathlib.Path(self.place.name) / place / self.top.name
            if place == "second":
                top.parent.mkdir()
                self.top.rename(top)
                type(self).top = top
            home = pathlib.Path(self.place.name) / f"home of {place}"
            home.mkdir()
            self.assertIn(version, self.longrun(top, home, "version"))
            tables.append(self.run_sweep(top, home))
        self.assertEqual(tables[0], tables[1])

    def test_no_file_names_the_machine_that_built_it(self):
        needles = {os.fsencode(f"{path}/") for path in (Packages.source, Packages.source.resolve())}
        needles.add(os.fsencode(f"{(Packages.source / '.venv').resolve()}/"))
        for path in files_of(self.top):
            content = path.read_bytes()
            for needle in needles:
                self.assertNotIn(needle, content, path)

    def test_libraries_are_found_beside_the_programs_only(self):
        needed = set()
        for path in files_of(self.top):
            if not is_elf(path):
                continue
            dynamic = run("readelf", "--dynamic", "--wide", path)
            for paths in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
                for entry in paths.split(":"):
                    self.assertTrue(entry.startswith("$ORIGIN"), f"{path}: {paths}")
            needed.update(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
        beside = {path.name for path in (self.top / "lib/longrun").iterdir()}
        self.assertIn("libtorch_cpu.so", beside)
        self.assertEqual({name for name in needed if not GLIBC.match(name)} - beside, set())
        self.assertEqual({name for name in beside if GLIBC.match(name)}, set())
        for program in PROGRAMS:
            for path in re.findall(r"=> (/\S.*) \(0x", run("ldd", self.top / "bin" / program)):
                if not GLIBC.match(os.path.basename(path)):
                    self.assertEqual(os.path.commonpath([self.top, os.path.normpath(path)]), str(self.top), path)

    def test_needs_no_newer_glibc_than_the_readme_says(self):
        most = (0, 0)
        for path in files_of(self.top):
            if is_elf(path):
                versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", run("readelf", "--version-info", "--wide", path))
                most = max([most, *((int(a), int(b)) for a, b in versions)])
        self.assertLessEqual(most, GLIBC_MOST)
        readme = " ".join((Packages.source / "README.md").read_text().split())
        self.assertTrue("glibc %d.%d or newer" % GLIBC_MOST in readme, "README.md says which glibc the tarball needs")

    def test_has_the_licence_of_each_library(self):
        licences = {path.name for path in (self.top / "share/doc/longrun/licences").iterdir()}
        self.assertTrue(any(name.startswith("torch-") for name in licences), licences)
        for package in ("libgrpc++1.51", "libstdc++6", "libsqlite3-0"):
            self.assertIn(package, licences)
        self.assertTrue((self.top / "share/doc/longrun/LICENSE").exists())

    def test_has_what_prometheus_grafana_and_shells_read(self):
        for path in ("share/longrun/prometheus/rules/alerts.yml", "share/longrun/grafana/dashboards",
                     "share/longrun/sweeps/presets/cable-wikitext103.yaml", "share/longrun/sweeps/quickstart.yaml",
                     "share/longrun/kubernetes/coordinator/coordinator.yaml", "share/doc/longrun/deploy/README.md",
                     "share/doc/longrun/docs/operating.md"):
            self.assertTrue((self.top / path).exists(), path)
        for path in ("bash-completion/completions/longrun", "zsh/vendor-completions/_longrun",
                     "fish/vendor_completions.d/longrun.fish"):
            self.assertIn("longrun", (self.top / "share" / path).read_text())


# ---- in a root of its own ------------------------------------------------------------------------

def mount(*argv):
    run("mount", *argv)


def bind_devices(root):
    (root / "dev").mkdir(exist_ok=True)
    for name in ("null", "zero", "urandom", "random"):
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", root / "dev" / name)


def copy_glibc(root):
    """What a program needs of this machine that the tarball does not contain."""
    libraries = re.findall(r"^\s*(\S+) .*=> (/\S+)$", run("/sbin/ldconfig", "-p"), re.MULTILINE)
    loader = pathlib.Path(re.search(r"interpreter: (.*)\]", run("readelf", "--program-headers", sys.executable))[1])
    (root / loader.parent.relative_to("/")).mkdir(parents=True)
    shutil.copy(loader, root / loader.relative_to("/"))
    for name, path in libraries:
        target = root / pathlib.Path(path).relative_to("/")
        if GLIBC.match(name) and not name.startswith("ld-linux") and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


class Bare(unittest.TestCase):
    def test_the_tarball_runs_where_nothing_but_glibc_is(self):
        root = Packages.place
        mount("-t", "tmpfs", "-o", "size=3g", "tmpfs", root)
        copy_glibc(root)
        for folder in ("proc", "opt", "home", "tmp"):
            (root / folder).mkdir()
        mount("-t", "proc", "proc", root / "proc")
        bind_devices(root)
        top = pathlib.Path("/opt") / Packages.unpack(root / "opt").name
        write_texts(root / "home")

        def longrun(*argv):
            return run(top / "bin/longrun", *argv, env={"HOME": "/home", "OMP_NUM_THREADS": "1",
                                                        "OMP_WAIT_POLICY": "passive"},
                       preexec_fn=lambda: (os.chroot(root), os.chdir("/home")))

        self.assertIn("longrun", longrun("version"))
        longrun("data", "import", "words", "--train", "words.txt", "--validation", "held_out.txt")
        longrun("run", "small.yaml")
        table = numbers(longrun("table", "small", "-o", "csv"))
        self.assertEqual(set(table), {(p, n) for p in ("cable", "rope") for n in ("32", "64")})
        longrun("plot", "small", "-o", "curves.png")
        self.assertTrue((root / "home/curves.png").read_bytes().startswith(b"\x89PNG"))


def with_version(package, version, target):
    """Writes the .deb `package` with another version: of its control file only one line changes."""
    content = package.read_bytes()
    assert content.startswith(b"!<arch>\n")
    written, at = b"!<arch>\n", 8
    while at < len(content):
        header = content[at:at + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        body = content[at + 60:at + 60 + size]
        at += 60 + size + size % 2
        if name.startswith("control.tar"):
            body = with_changed_control(body, version)
        written += header[:48] + f"{len(body):<10}".encode() + header[58:] + body + b"\n" * (len(body) % 2)
    target.write_bytes(written)


def with_changed_control(archive, version):
    changed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as before, tarfile.open(fileobj=changed, mode="w:gz") as after:
        for member in before:
            content = before.extractfile(member).read() if member.isfile() else b""
            if os.path.basename(member.name) == "control":
                content, n = re.subn(rb"(?m)^Version: .*$", b"Version: " + version.encode(), content)
                assert n == 1
                member.size = len(content)
            after.addfile(member, io.BytesIO(content))
    return changed.getvalue()


class Debian(unittest.TestCase):
    UNITS = ["longrun-coordinator.service", "longrun-worker.service"]
    STATE = pathlib.Path("/var/lib/longrun")

    @classmethod
    def setUpClass(cls):
        """From here on, / is a copy of the machine's root without the source tree."""
        cls.package = Packages.only("longrun_*.deb").name
        place = Packages.place
        mount("-t", "tmpfs", "-o", "size=6g", "tmpfs", place)
        for name in ("upper", "work", "root"):
            (place / name).mkdir()
        root = place / "root"
        mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={place}/upper,workdir={place}/work", root)
        mount("-t", "proc", "proc", root / "proc")
        for folder in ("dev", "run", "tmp"):
            mount("-t", "tmpfs", "-o", "mode=1777" if folder == "tmp" else "mode=755", "tmpfs", root / folder)
        bind_devices(root)
        (root / "run/packages").mkdir()
        mount("--bind", Packages.folder, root / "run/packages")
        stand_in = root / "run/stand_in"
        stand_in.mkdir()
        shutil.copy(pathlib.Path(__file__).with_name("stand_in_systemctl.py"), stand_in / "systemctl")
        (stand_in / "systemctl").chmod(0o755)
        (root / "run/systemd/system").mkdir(parents=True)
        # Images of containers forbid to start services.
        (root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        for path in {Packages.source.resolve(), (Packages.source / ".venv").resolve()}:
            hidden = root / path.relative_to("/")
            if hidden.exists():  # below /tmp, it is hidden already
                mount("-t", "tmpfs", "tmpfs", hidden)
        os.chroot(root)
        os.chdir("/tmp")
        bring_up_loopback()
        os.environ.update(PATH=f"/run/stand_in:{os.path.dirname(sys.executable)}:/usr/sbin:/usr/bin:/sbin:/bin",
                          DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
        write_texts(pathlib.Path("/tmp"))
        # More steps than anybody waits for.
        pathlib.Path("/tmp/long.yaml").write_text(sweep("long", "alibi", 1 << 30, 2048))

    def dpkg(self, *argv):
        # Nothing here has to survive a loss of power.
        return run("dpkg", "--force-unsafe-io", *argv)

    def longrun(self, *argv):
        return run("/usr/bin/longrun", "--state", self.STATE, *argv, user="longrun", group="longrun", extra_groups=[],
                   env={"PATH": "/usr/bin:/bin", "HOME": str(self.STATE)}, cwd="/tmp")

    def query(self, sql):
        return json.loads(self.longrun("query", sql, "-o", "json"))

    def main_pid(self, unit):
        try:
            return int(pathlib.Path(f"/run/stand_in/{unit}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def processes(self):
        """By name: the processes of longrun's programs, with or without a file that is still there."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                name = os.path.basename(os.readlink(folder / "exe").removesuffix(" (deleted)"))
            except OSError:
                continue  # it has ended, or is a zombie
            found.setdefault(name, []).append(int(folder.name))
        return {name: pids for name, pids in found.items() if name.startswith("longrun")}

    def runs_the_installed_file(self, pid):
        return not os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")

    def rows(self):
        return self.query("SELECT count(*) AS n FROM curves WHERE metric = 'loss'")[0]["n"]

    def logs(self):
        return "".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in pathlib.Path("/run/stand_in").glob("*")
                       if path.suffix == ".log" or path.name == "calls")

    def test_installs_runs_upgrades_and_goes(self):
        try:
            self.installs()
            table = self.serves()
            self.upgrades_under_a_running_service(table)
            self.removes()
            self.purges()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def installs(self):
        before = set(pathlib.Path("/usr").glob("lib/longrun*")) | set(pathlib.Path("/etc").glob("longrun*"))
        self.assertEqual(before, set(), "a longrun is installed on this machine: remove it, then test again")
        self.dpkg("--install", f"/run/packages/{self.package}")
        self.assertEqual(run("dpkg-query", "--show", "--showformat", "${db:Status-Status}", "longrun"), "installed")
        depends = run("dpkg-query", "--show", "--showformat", "${Depends}", "longrun")
        for name in ("adduser", "libc6", "libgrpc++1.51", "libsqlite3-0"):
            self.assertIn(name, depends)
        for folder in ("longrun", "longrun-worker"):
            status = (pathlib.Path("/var/lib") / folder).stat()
            self.assertEqual(status.st_mode & 0o777, 0o700)
            self.assertEqual(run("stat", "--format", "%U:%G", f"/var/lib/{folder}").strip(), "longrun:longrun")
        # Enabled, but not started.
        for unit in self.UNITS:
            link = pathlib.Path("/etc/systemd/system/multi-user.target.wants") / unit
            self.assertTrue(link.is_symlink(), link)
        self.assertEqual(self.processes(), {})
        self.assertIn("longrun", run("/usr/bin/longrun", "version"))

    def serves(self):
        """A finished sweep, and a trainer in the middle of another: returns the table of the first."""
        settings = pathlib.Path("/etc/longrun/worker.env")
        settings.write_text(settings.read_text().replace("OPTIONS=", "OPTIONS=--cpu-slots 1"))
        run("systemctl", "start", *self.UNITS)
        wait_until("the worker is there", lambda: "READY" in self.longrun("workers"))
        self.longrun("data", "import", "words", "--train", "words.txt", "--validation", "held_out.txt")
        self.longrun("submit", "small.yaml", "--wait")
        table = self.longrun("table", "small", "-o", "csv")
        self.assertEqual(len(numbers(table)), 4)
        self.longrun("submit", "long.yaml")
        rows = self.rows()
        wait_until("the long training is stored step by step", lambda: self.rows() > rows)
        return table

    def upgrades_under_a_running_service(self, table):
        trainers = self.processes()["longrun-trainer"]
        self.assertEqual(len(trainers), 1)
        daemons = {unit: self.main_pid(unit) for unit in self.UNITS}
        settings = pathlib.Path("/etc/longrun/worker.env").read_text()
        attempts = "SELECT attempt, state FROM attempts ORDER BY attempt"
        attempts_before = self.query(attempts)

        higher = pathlib.Path("/tmp/higher.deb")
        with_version(pathlib.Path("/run/packages") / self.package, "99.0.0", higher)
        self.dpkg("--install", higher)
        higher.unlink()

        self.assertEqual(run("dpkg-query", "--show", "--showformat", "${Version}", "longrun"), "99.0.0")
        for unit in self.UNITS:
            wait_until(f"{unit} was replaced", lambda unit=unit: self.main_pid(unit) not in (None, daemons[unit]))
            wait_until(f"{unit} runs the new file", lambda unit=unit: self.runs_the_installed_file(self.main_pid(unit)))
        self.assertTrue(all(is_alive(pid) for pid in trainers), "the trainer outlives the upgrade")
        wait_until("the worker is there", lambda: "READY" in self.longrun("workers"))
        # The old trainer's steps arrive through the new worker at the new coordinator.
        rows = self.rows()
        wait_until("the long training goes on", lambda: self.rows() > rows)
        self.assertEqual(self.processes()["longrun-trainer"], trainers)
        self.assertEqual(self.query(attempts), attempts_before)
        self.assertEqual(self.longrun("table", "small", "-o", "csv"), table)
        self.assertEqual(pathlib.Path("/etc/longrun/worker.env").read_text(), settings)

    def removes(self):
        self.dpkg("--remove", "longrun")
        self.assertEqual(self.processes(), {}, "prerm stops the daemons, and the worker its trainers")
        for path in ("/usr/bin/longrun", "/usr/lib/longrun", "/usr/lib/systemd/system/longrun-worker.service"):
            self.assertFalse(pathlib.Path(path).exists(), path)
        self.assertTrue((self.STATE / "longrun.db").exists())
        self.assertTrue(pathlib.Path("/etc/longrun/worker.env").exists())

    def purges(self):
        self.dpkg("--purge", "longrun")
        for folder in ("/var/lib/longrun", "/var/lib/longrun-worker", "/etc/longrun", "/usr/share/longrun"):
            self.assertFalse(pathlib.Path(folder).exists(), folder)
        links = list(pathlib.Path("/etc/systemd/system").rglob("longrun*"))
        links += pathlib.Path("/var/lib/systemd").rglob("longrun*")
        self.assertEqual(links, [])


def bring_up_loopback():
    """The services' metrics listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


# ---- which namespaces a test gets ----------------------------------------------------------------

def namespaces(name):
    """The command that gives a command namespaces of its own; what must work in them."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if name == "Debian":
        # Several users, so a user namespace (which maps one) is not enough.
        return command + ["--net"], "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && " \
            "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    return command, "mount -t tmpfs tmpfs /mnt && mkdir /mnt/p && mount -t proc proc /mnt/p"


def why_not(name):
    """Why this machine cannot run the test, or None."""
    if name == "Debian" and shutil.which("dpkg") is None:
        return "dpkg is missing: a .deb can only be installed on Debian"
    if name == "Debian" and os.geteuid() != 0:
        return "only root may install a .deb: run the test as root"
    command, trial = namespaces(name)
    ended = subprocess.run([*command, "sh", "-c", trial], capture_output=True, text=True)
    if ended.returncode != 0:
        return f"this machine allows no namespaces with mounts of their own: {ended.stderr.strip()}"
    return None


def main(folder, source, name, place=None):
    Packages.folder, Packages.source = pathlib.Path(folder), pathlib.Path(source)
    if name != "Tarball" and place is None:
        if reason := why_not(name):
            print(f"{name} was not tested: {reason}")
            return EXIT_SKIPPED
        with tempfile.TemporaryDirectory(prefix="longrun-packages-") as place:
            return subprocess.run([*namespaces(name)[0], sys.executable, "-B", *sys.argv, place]).returncode
    if place is not None:
        Packages.place = pathlib.Path(place)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase({"Tarball": Tarball, "Bare": Bare, "Debian": Debian}[name])
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
