"""The image's own commands, run as the manifests of deploy/kubernetes say, in namespaces instead of a cluster.

  image_test.py FOLDER SOURCE

FOLDER has the packages. The root file system is made as deploy/container/Containerfile says, from the tarball and, as
the base image, glibc and nothing else. Each pod is a process tree with namespaces of its own (mounts, processes, host
name, network) and what its manifest gives it: the user, no privileges, a read-only root, and the volumes, owned as
Kubernetes owns them. A bridge connects the pods, and nothing else.

Exit code 77: this machine cannot make such namespaces; the output says why. What is not tested here: seccomp, limits
of memory and CPU, network policies, GPUs.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import kubernetes_manifests as manifests
from packages_test import (EXIT_SKIPPED, LIMIT_S, Packages, bind_devices, bring_up_loopback, copy_glibc, mount, numbers,
                           run, sweep, wait_until, write_texts)

# Of <linux/prctl.h> and <linux/capability.h>.
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, CAPABILITIES = 38, 24, 41
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child"]
SERVICE = "10.9.0.1"  # the address of the coordinator, whichever pod it is
PLACE = None  # set by main()
SECRETS, CONFIG_MAPS = {}, {}  # by name; what the user makes with kubectl


def prctl(option, argument):
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


# ---- the image -----------------------------------------------------------------------------------

class Image:
    """The stage "cpu" of the Containerfile."""

    def __init__(self, source):
        self.root, self.environment, self.user = PLACE / "image", {}, None
        self.root.mkdir()
        copy_glibc(self.root)
        for folder in ("dev", "etc", "proc", "run", "tmp", "var/lib"):
            (self.root / folder).mkdir(parents=True)
        # As Debian's base image has it.
        (self.root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        text = (source / "deploy/container/Containerfile").read_text().replace("\\\n", " ")
        stage = None
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "FROM":
                stage = rest.rpartition(" AS ")[2]
            elif stage != "cpu" or not line or word in ("#", "ARG", "LABEL", "CMD"):
                continue
            elif line == "COPY longrun /opt/longrun":
                (self.root / "opt").mkdir()
                Packages.unpack(self.root / "opt").rename(self.root / "opt/longrun")
            elif word == "ENV":
                name, value = rest.split("=", 1)
                self.environment[name] = value
            elif word == "USER":
                self.user = [int(one) for one in rest.split(":")]
            else:
                raise ValueError(f"this test does not know the instruction {line!r}")


# ---- a pod ---------------------------------------------------------------------------------------

def owned_by_group(folder, group, mode):
    folder.mkdir(parents=True)
    os.chown(folder, 0, group)
    folder.chmod(mode)
    return folder


class Pod:
    """One pod of a workload. `claims` are the folders of its claims, by name."""
    n_made = 0

    def __init__(self, image, workload, name, claims=None):
        self.image, self.name, self.kind = image, name, workload["kind"]
        spec = workload["spec"]["template"]["spec"]
        (self.container,) = spec["containers"]
        self.grace_s = spec["terminationGracePeriodSeconds"]
        security = spec["securityContext"]
        assert self.container["securityContext"]["readOnlyRootFilesystem"]
        assert [security["runAsUser"], security["runAsGroup"]] == image.user
        Pod.n_made += 1
        self.folder = PLACE / "pods" / f"{Pod.n_made}-{name}"
        self.log = self.folder / "log"
        self.folder.mkdir(parents=True)
        group = security["fsGroup"]
        volumes = dict(claims or {})
        for volume in spec["volumes"]:
            where = self.folder / "volumes" / volume["name"]
            if "emptyDir" in volume:
                volumes[volume["name"]] = owned_by_group(where, group, 0o2777)
            else:
                volumes[volume["name"]] = secret_volume(where, group, volume["secret"])
        self.environment = dict(image.environment)
        for variable in self.container.get("env", []):
            if "value" in variable:
                self.environment[variable["name"]] = variable["value"]
            else:
                source = variable["valueFrom"]["configMapKeyRef"]
                self.environment[variable["name"]] = CONFIG_MAPS[source["name"]][source["key"]]
        mounts = [[str(volumes[one["name"]]), one["mountPath"], bool(one.get("readOnly"))]
                  for one in self.container["volumeMounts"]]
        # The kubelet mounts this file, and the cluster's DNS knows the Service.
        hosts = self.folder / "hosts"
        self.address = SERVICE if self.kind == "StatefulSet" else f"10.9.0.{Pod.n_made + 1}"
        hosts.write_text(f"127.0.0.1 localhost\n{SERVICE} longrun.longrun.svc\n{self.address} {name}\n")
        (self.folder / "root").mkdir()
        self.spec = self.folder / "spec.json"
        self.spec.write_text(json.dumps(
            {"image": str(image.root), "root": str(self.folder / "root"), "hosts": str(hosts), "name": name,
             "address": self.address, "mounts": mounts, "user": security["runAsUser"], "group": security["runAsGroup"], "fs_group": group,
             "argv": self.container["command"] + self.container["args"], "environment": self.environment}))
        self.process = self.pid = None

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*NAMESPACES, sys.executable, "-B", __file__, "--container", self.spec],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(wait_until(f"{self.name} has a process", lambda: self.ended() or children.read_text().strip()))
        wait_until(f"{self.name} has a network of its own", lambda: self.ended() or
                   os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        end = "pod" + self.folder.name.partition("-")[0]
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", self.pid)
        run("ip", "link", "set", end, "master", "pods", "up")
        program = self.container["command"][0]
        wait_until(f"{self.name} runs its program", lambda: self.ended() or
                   os.readlink(f"/proc/{self.pid}/exe").endswith(f"/{program}"))
        return self

    def ended(self):
        """Whether it has ended, which nobody wants while it starts."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()}")
        return False

    def execute(self, *argv, check=True):
        """As `kubectl exec` and the kubelet's probes do it."""
        ended = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--root", "--wd",
             "--setgid", str(self.image.user[1]), "--setuid", str(self.image.user[0]), *argv],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
            preexec_fn=lambda: prctl(PR_SET_NO_NEW_PRIVS, 1))
        if check and ended.returncode != 0:
            raise AssertionError(f"{argv} in {self.name} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended.stdout if check else ended.returncode

    def probe(self, name):
        return self.execute(*self.container[name]["exec"]["command"], check=False) == 0

    def stop(self):
        """SIGTERM, and the grace period. Returns the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not stopped within {self.grace_s} s:\n{self.log.read_text()}") from None


def secret_volume(folder, group, secret):
    """Files behind links, as the kubelet writes them."""
    version = owned_by_group(folder / "..2026", group, 0o2755)
    for key, value in SECRETS[secret["secretName"]].items():
        (version / key).write_text(value)
        os.chown(version / key, 0, group)
        (version / key).chmod(secret["defaultMode"])
        (folder / key).symlink_to(f"..data/{key}")
    (folder / "..data").symlink_to("..2026")
    return folder


def become_container(spec):
    """In namespaces of its own: prepares the root, gives up all privileges, and becomes the program."""
    root = pathlib.Path(spec["root"])
    socket.sethostname(spec["name"])
    bring_up_loopback()
    wait_until("eth0 is there", lambda: "eth0" in [name for _, name in socket.if_nameindex()])
    run("ip", "address", "add", f"{spec['address']}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    mount("--make-rprivate", "/")
    mount("--bind", spec["image"], root)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
    bind_devices(root)
    (root / "dev/shm").mkdir()
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "dev/shm")
    (root / "etc/hosts").touch()
    mount("--bind", spec["hosts"], root / "etc/hosts")
    for source, target, is_read_only in spec["mounts"]:
        inside = root / target.lstrip("/")
        inside.mkdir(parents=True, exist_ok=True)
        mount("--bind", source, inside)
        if is_read_only:
            mount("-o", "remount,bind,ro", inside)
    mount("-o", "remount,bind,ro", root)
    os.chroot(root)
    os.chdir("/")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(CAPABILITIES):
        prctl(PR_CAPBSET_DROP, capability)
    os.setgroups([spec["fs_group"]])
    os.setresgid(*[spec["group"]] * 3)
    os.setresuid(*[spec["user"]] * 3)
    os.execvpe(spec["argv"][0], spec["argv"], spec["environment"])


# ---- the walk through deploy/README.md -----------------------------------------------------------

class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("ip", "link", "add", "pods", "type", "bridge")
        run("ip", "link", "set", "pods", "up")
        mount("-t", "tmpfs", "-o", "size=4g", "tmpfs", PLACE)
        cls.image = Image(Packages.source)
        cls.home = PLACE / "laptop"
        cls.home.mkdir()
        write_texts(cls.home)
        # More steps than anybody waits for.
        (cls.home / "long.yaml").write_text(sweep("long", "alibi", 1 << 30, 2048))
        cls.claim = owned_by_group(PLACE / "claim", manifests.template_of(cls.workload("coordinator"))["spec"]
                                   ["securityContext"]["fsGroup"], 0o2770)
        cls.pods = []

    @classmethod
    def workload(cls, folder):
        (one,) = manifests.workloads(manifests.render(Packages.source / "deploy/kubernetes" / folder))
        return one

    def start(self, folder, name):
        claims = {"state": self.claim} if folder in ("coordinator", "first-start") else None
        pod = Pod(self.image, self.workload(folder), name, claims)
        self.pods.append(pod)
        return pod.start()

    def laptop(self, *argv, **options):
        """A program of the node, on the loopback interface of the coordinator's pod: as `kubectl port-forward`."""
        return run("nsenter", "--target", self.coordinator.pid, "--net", self.image.root / "opt/longrun/bin/longrun", *argv, cwd=self.home,
                   env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)}, **options)

    def query(self, sql):
        return json.loads(self.laptop("query", sql, "-o", "json"))

    def has_only_what_the_manifest_gives(self, pod):
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pod.pid}/status").read_text().splitlines()
                      if ":\t" in line)
        self.assertEqual(status["NSpid"].split()[-1], "1")
        for name in ("Uid", "Gid"):
            self.assertEqual(set(status[name].split()), {"10001"})
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        writable = set()
        for line in pathlib.Path(f"/proc/{pod.pid}/mountinfo").read_text().splitlines():
            _, _, _, _, target, flags, *_ = line.split()
            if "rw" in flags.split(","):
                writable.add(target)
        wanted = {one["mountPath"] for one in pod.container["volumeMounts"] if not one.get("readOnly")}
        self.assertEqual({path for path in writable if not re.match(r"/(dev|proc|etc/hosts)(/|$)", path)}, wanted)

    def test_the_walk(self):
        try:
            self.first_start()
            self.serves()
            self.pilots_join()
            table = self.a_laptop_submits()
            self.a_pilot_goes_and_its_task_goes_on()
            self.the_coordinator_is_replaced(table)
            self.everything_stops_in_time()
        except AssertionError as error:
            logs = "".join(f"--- {pod.folder.name}\n{pod.log.read_text()[-3000:]}" for pod in self.pods)
            raise AssertionError(f"{error}\n{logs}") from error

    def first_start(self):
        pod = self.start("first-start", "longrun-coordinator-0")
        wait_until("the first start is healthy", lambda: pod.ended() or pod.probe("startupProbe"))
        self.has_only_what_the_manifest_gives(pod)
        made = pod.execute("longrun", "admin", "pki", "init", "--name", "longrun.longrun.svc", "--name", "localhost",
                           "-o", "json")
        CONFIG_MAPS["longrun-authority"] = {"fingerprint": json.loads(made)["ca_fingerprint"]}
        type(self).token = pod.execute("longrun", "admin", "token", "create", "--role", "admin", "--note", "Ada")
        self.assertEqual(pod.stop(), 0)

    def serves(self):
        pod = type(self).coordinator = self.start("coordinator", "longrun-coordinator-0")
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            wait_until(f"{name} succeeds", lambda: pod.ended() or pod.probe(name))
        self.has_only_what_the_manifest_gives(pod)
        # A coordinator that does not answer is not healthy.
        os.kill(pod.pid, signal.SIGSTOP)
        self.assertFalse(pod.probe("livenessProbe"))
        os.kill(pod.pid, signal.SIGCONT)
        wait_until("it is healthy again", lambda: pod.probe("livenessProbe"))

    def pilots_join(self):
        tokens = {f"token-{i}": self.coordinator.execute("longrun", "admin", "join-token", "create") for i in (1, 2)}
        SECRETS["longrun-join-tokens"] = tokens
        type(self).pilots = {name: self.start("pilots", name) for name in ("longrun-pilots-0-x7k2p", "longrun-pilots-1-m4vqd")}
        self.laptop("login", "localhost:7443", "--ca-fingerprint", CONFIG_MAPS["longrun-authority"]["fingerprint"],
                    input=self.token)
        wait_until("both pilots have joined", lambda: [pod.ended() for pod in self.pilots.values()] and
                   self.laptop("workers").count("READY") == 2)
        for pod in self.pilots.values():
            self.has_only_what_the_manifest_gives(pod)
        # Each token has let one worker join. podFailurePolicy names this exit code.
        third = Pod(self.image, self.workload("pilots"), "longrun-pilots-2-9zzzz")
        self.pods.append(third)
        with self.assertRaisesRegex(AssertionError, r"ended with 77(.|\n)*refuses all 2 tokens"):
            third.start()
            wait_until("the third pilot ends", third.ended)

    def a_laptop_submits(self):
        self.laptop("data", "import", "words", "--train", "words.txt", "--validation", "held_out.txt")
        self.laptop("submit", "small.yaml", "--wait")
        table = self.laptop("table", "small", "-o", "csv")
        self.assertEqual(set(numbers(table)), {(p, n) for p in ("cable", "rope") for n in ("32", "64")})
        self.assertTrue(all(float(value) > 1 for value in numbers(table).values()), table)
        return table

    def rows(self):
        return self.query("SELECT count(*) AS n FROM curves WHERE metric = 'loss'")[0]["n"]

    def a_pilot_goes_and_its_task_goes_on(self):
        self.laptop("submit", "long.yaml")
        rows = self.rows()
        wait_until("the long training is stored step by step", lambda: self.rows() > rows)
        attempts = "SELECT state, worker FROM attempts WHERE state IN ('RUNNING', 'PREEMPTED', 'LOST', 'FAILED')"
        (running,) = [one for one in self.query(attempts) if one["state"] == "RUNNING"]
        (name,) = [name for name in self.pilots if running["worker"].startswith(name)]
        self.assertEqual(self.pilots.pop(name).stop(), 0)
        wait_until("the other pilot goes on with it", lambda: [
            one for one in self.query(attempts) if one["state"] == "RUNNING" and one["worker"] != running["worker"]])
        ended = [one["state"] for one in self.query(attempts) if one["state"] != "RUNNING"]
        self.assertEqual(ended, ["PREEMPTED"])

    def the_coordinator_is_replaced(self, table):
        """A rolling update: stopped, and started on the same claim, while a trainer goes on."""
        self.coordinator.execute("longrun", "admin", "backup", "--replace", "/var/lib/longrun/before.tar")
        self.assertTrue((self.claim / "before.tar").is_file())
        rows = self.rows()
        self.assertEqual(self.coordinator.stop(), 0)
        pod = type(self).coordinator = self.start("coordinator", "longrun-coordinator-0")
        wait_until("the new pod is healthy", lambda: pod.ended() or pod.probe("startupProbe"))
        self.assertEqual(self.laptop("table", "small", "-o", "csv"), table)
        wait_until("the training went on", lambda: self.rows() > rows)

    def everything_stops_in_time(self):
        (pilot,) = self.pilots.values()
        self.assertEqual(pilot.stop(), 0)
        self.assertEqual(self.coordinator.stop(), 0)
        for path in self.image.root.rglob("*"):
            self.assertEqual(path.lstat().st_uid, 0, f"{path} was written by a pod")


# ---- which namespaces the test gets --------------------------------------------------------------

def why_not():
    """Why this machine cannot run the test, or None."""
    if os.geteuid() != 0:
        return "only root can give pods a user of their own: run the test as root"
    if shutil.which("ip") is None:
        return "ip is missing: apt-get install iproute2"
    trial = "ip link add pods type bridge && mount -t tmpfs tmpfs /mnt && mkdir /mnt/p && mount -t proc proc /mnt/p && mount -o remount,bind,ro /mnt"
    ended = subprocess.run([*NAMESPACES, "sh", "-c", trial], capture_output=True, text=True)
    if ended.returncode != 0:
        return f"this machine allows no namespaces with mounts and networks of their own: {ended.stderr.strip()}"
    return None


def main(folder, source, place=None):
    global PLACE
    if place is None:
        if reason := why_not():
            print(f"the image was not tested: {reason}")
            return EXIT_SKIPPED
        with tempfile.TemporaryDirectory(prefix="longrun-image-") as place:
            return subprocess.run([*NAMESPACES, "--mount-proc", sys.executable, "-B", *sys.argv, place]).returncode
    Packages.folder, Packages.source, PLACE = pathlib.Path(folder), pathlib.Path(source), pathlib.Path(place)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Cluster)
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    if sys.argv[1] == "--container":
        become_container(json.loads(pathlib.Path(sys.argv[2]).read_text()))
    sys.exit(main(*sys.argv[1:]))
