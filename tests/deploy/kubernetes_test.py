"""deploy/kubernetes against the API's schemas, against itself, and against the programs.

  kubernetes_test.py SOURCE BIN

Each check is also tested: an error is planted in the manifests, and the check must find it.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import kubernetes_manifests as manifests
import yaml

FOLDERS = ["coordinator", "first-start", "pilots", "gpu-pilots"]
EXIT_BAD_USAGE = 64


def render(folder):
    return manifests.render(Here.source / "deploy/kubernetes" / folder)


def together():
    """What a cluster has in the end."""
    return render("coordinator") + render("pilots") + render("gpu-pilots")


class Here:
    source = binaries = context = None  # set by main()

    @classmethod
    def run(cls, container, *more):
        """A program of the image with a container's arguments and variables; the folders are moved away."""
        place = tempfile.mkdtemp(prefix="longrun-kubernetes-")
        try:
            words = [re.sub(r"(?<==)(/var/lib|/run)/longrun", f"{place}\\1/longrun", word)
                     for word in container.get("args", [])]
            environment = {"PATH": "/usr/bin:/bin", "HOME": place, "LONGRUN_HOME": f"{place}/var/lib/longrun/state"}
            return subprocess.run([cls.binaries / container["command"][0], *words, *more], env=environment, cwd=place,
                                  capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        finally:
            shutil.rmtree(place)


def read_context(source, binaries):
    read = lambda path: (source / path).read_text()
    help_text = subprocess.run([binaries / "longrun-worker", "--help"], capture_output=True, text=True, check=True).stdout
    return manifests.Context(
        version=re.search(r"(?m)^project\(longrun VERSION ([0-9.]+)", read("CMakeLists.txt"))[1],
        image_user=int(re.search(r"(?m)^USER (\d+):\1$", read("deploy/container/Containerfile"))[1]),
        readme=read("deploy/README.md"),
        units={name: read(f"deploy/systemd/{name}.service") for name in ("longrun-coordinator", "longrun-worker")},
        grace_ms_default=int(re.search(r"--grace-ms [A-Z:]+ ?[=\[](\d+)", help_text)[1]),
        check_s=int(re.search(r"kHealthCheckMs = ([0-9']+);", read("coordinator/rpc/health_check.h"))[1].replace("'", "")) / 1000)


class Manifests(unittest.TestCase):
    def test_nothing_is_wrong(self):
        for folder in FOLDERS:
            with self.subTest(folder):
                objects = render(folder)
                # Each of the two names the other: a Service here, labels in a NetworkPolicy there.
                objects += render("coordinator" if folder.endswith("pilots") else "pilots")
                self.assertEqual(manifests.problems(objects, Here.context), [])
        self.assertEqual(manifests.problems(together(), Here.context), [])

    def test_kubectl_renders_them_in_the_same_way(self):
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            self.skipTest("kubectl is not installed")
        key = lambda one: (one["kind"], one["metadata"]["name"])
        for folder in FOLDERS:
            said = subprocess.run([kubectl, "kustomize", Here.source / "deploy/kubernetes" / folder],
                                  capture_output=True, text=True, timeout=120)
            if "unknown" in said.stderr or "unrecognized" in said.stderr:
                self.skipTest(f"this kubectl is too old: {said.stderr}")
            self.assertEqual(said.returncode, 0, said.stderr)
            theirs = [one for one in yaml.safe_load_all(said.stdout) if one]
            self.assertEqual(sorted(theirs, key=key), sorted(render(folder), key=key))

    def test_the_first_start_differs_only_by_the_port_that_it_does_not_serve(self):
        first, then = (manifests.containers_of(render(folder)) for folder in ("first-start", "coordinator"))
        gone = [set(b["args"]) - set(a["args"]) for a, b in zip(first, then)]
        self.assertEqual(gone, [{"--listen=0.0.0.0:7443"}])

    def test_pilots_with_a_gpu_ask_for_one_and_use_it(self):
        (container,) = manifests.containers_of(render("gpu-pilots"))
        self.assertEqual(container["resources"]["limits"]["nvidia.com/gpu"], "1")
        self.assertTrue(container["image"].endswith("-gpu"))
        self.assertFalse([word for word in container["args"] if "cpu-slots" in word])

    def test_the_programs_accept_the_arguments(self):
        for container in manifests.containers_of(together()):
            program = container["command"][0]
            dry = ["--check-health"] if program == "longrun-coordinator" else ["gc", "--dry-run", "--folder", "/nowhere"]
            ended = Here.run(container, *dry)
            self.assertNotEqual(ended.returncode, EXIT_BAD_USAGE, ended.stderr)
            self.assertEqual(Here.run(container, "--no-such-option", *dry).returncode, EXIT_BAD_USAGE)
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    command = container[probe]["exec"]["command"]
                    ended = Here.run({"command": command[:1], "args": command[1:]})
                    # Nobody serves here.
                    self.assertEqual(ended.returncode, 69, ended.stderr)
                    self.assertIn("no coordinator serves", ended.stderr)

    def test_the_page_names_what_there_is(self):
        page = (Here.source / "deploy/README.md").read_text()
        folders = set(re.findall(r"kubectl apply -k (\S+)", page))
        self.assertEqual({Here.source / folder for folder in folders} | {Here.source / "deploy/kubernetes/gpu-pilots"},
                         {Here.source / "deploy/kubernetes" / folder for folder in FOLDERS})
        there = {(one["kind"].lower(), one["metadata"]["name"]) for one in together()}
        named = set(re.findall(r"\b(statefulset|service)/([a-z-]+)|\b(job) (longrun-[a-z-]+)", page))
        self.assertEqual({(a or c, b or d) for a, b, c, d in named} - there, set())
        self.assertIn("Kubernetes %s or newer" % manifests.VERSIONS[0], page)
        self.assertIn("schemas of Kubernetes %s and %s" % tuple(manifests.VERSIONS), page)

    def test_no_file_holds_a_secret(self):
        for path in (Here.source / "deploy").rglob("*"):
            if path.is_file():
                text = path.read_text(errors="replace")
                self.assertNotIn("kind: Secret", text, path)
                self.assertIsNone(re.search(r"\blr_[A-Za-z0-9]{8,}|BEGIN [A-Z ]*PRIVATE KEY", text), path)


# ---- the checks are tested -----------------------------------------------------------------------

def find(objects, kind, name):
    (one,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return one


class Parts:
    """The places in which errors are planted."""

    def __init__(self):
        self.objects = together()
        self.service = find(self.objects, "Service", "longrun")["spec"]
        self.coordinator = find(self.objects, "StatefulSet", "longrun-coordinator")["spec"]
        self.job = find(self.objects, "Job", "longrun-pilots")["spec"]
        self.policy = find(self.objects, "NetworkPolicy", "longrun-pilot")["spec"]
        self.pod = self.coordinator["template"]["spec"]
        self.container = self.pod["containers"][0]
        self.worker_pod = self.job["template"]["spec"]
        self.worker = self.worker_pod["containers"][0]

    def argument(self, container, word, instead):
        container["args"] = [instead if one.startswith(word) else one for one in container["args"]]


# What is planted, and what the check must say.
PLANTED = {
    "a misspelt key": (lambda p: p.pod.update(terminationGracePeriod=15), "terminationGracePeriod"),
    "a text instead of a number": (lambda p: p.job.update(completions="2"), "integer"),
    "a completion mode that does not exist": (lambda p: p.job.update(completionMode="Indexd"), "'Indexd' is none of"),
    "an access mode that does not exist":
        (lambda p: p.coordinator["volumeClaimTemplates"][0]["spec"].update(accessModes=["ReadWriteOne"]), "ReadWriteOne"),
    "a field of which the check does not know the values":
        (lambda p: p.coordinator.update(podManagementPolicy="OrderedRedy"), "add its values to ENUMERATIONS"),
    "a selector that matches no pod":
        (lambda p: p.service["selector"].update({"app.kubernetes.io/component": "coordinater"}), "no pod has the labels"),
    "pods that their StatefulSet does not select":
        (lambda p: p.coordinator["selector"]["matchLabels"].update({"app.kubernetes.io/name": "other"}), "its selector does not match"),
    "a policy for pods that do not exist":
        (lambda p: p.policy["egress"][0]["to"][0]["podSelector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}),
         "no pod has the labels"),
    "a Service that is not headless": (lambda p: p.coordinator.update(serviceName="longrun"), "not a headless one"),
    "a Secret that nobody makes":
        (lambda p: p.worker_pod["volumes"][1]["secret"].update(secretName="longrun-tokens"), "Secret longrun-tokens is not"),
    "a ConfigMap that nobody makes":
        (lambda p: p.worker["env"][0]["valueFrom"]["configMapKeyRef"].update(name="longrun-ca"), "ConfigMap longrun-ca is not"),
    "a claim that nobody makes":
        (lambda p: p.worker_pod["volumes"][0].update(persistentVolumeClaim={"claimName": "cache"}) or
         p.worker_pod["volumes"][0].pop("emptyDir"), "PersistentVolumeClaim cache is not"),
    "a folder of the node":
        (lambda p: p.pod["volumes"][0].update(hostPath={"path": "/tmp"}) or p.pod["volumes"][0].pop("emptyDir"), "a folder of the node"),
    "a volume that is not declared": (lambda p: p.worker["volumeMounts"][0].update(name="cache"), "not both declared and mounted"),
    "a namespace that does not exist": (lambda p: p.objects[1]["metadata"].update(namespace="longrum"), "no such namespace"),
    "a policy for a container that does not exist":
        (lambda p: p.job["podFailurePolicy"]["rules"][1]["onExitCodes"].update(containerName="wroker"), "no container wroker"),
    "an image without a name": (lambda p: p.container.update(image=""), "the image '' is not"),
    "an image that is not pinned": (lambda p: p.container.update(image="longrun:latest"), "longrun:latest"),
    "an image of another version": (lambda p: p.worker.update(image="longrun:0.0.9"), "longrun:0.0.9"),
    "a port that nobody listens on": (lambda p: p.container["ports"][0].update(containerPort=7444), "not on 7444"),
    "a Service for another port": (lambda p: p.service["ports"][0].update(port=443), "no container has the port 443"),
    "a coordinator that is not at that name":
        (lambda p: p.argument(p.worker, "--coordinator", "--coordinator=longrun.default.svc:7443"), "no Service is at"),
    "a policy for another port":
        (lambda p: p.policy["egress"][0]["ports"][0].update(port=7444), "nobody listens on 7444"),
    "root": (lambda p: p.pod["securityContext"].update(runAsNonRoot=False), "runAsNonRoot is not true"),
    "another user than the image's": (lambda p: p.pod["securityContext"].update(runAsUser=1000), "not the image's user"),
    "no seccomp profile": (lambda p: p.pod["securityContext"].pop("seccompProfile"), "seccompProfile"),
    "more privileges": (lambda p: p.container["securityContext"].update(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
    "a writable root": (lambda p: p.worker["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem"),
    "a capability": (lambda p: p.worker["securityContext"]["capabilities"].update(add=["SYS_PTRACE"]), "capabilities is not"),
    "a container that is root although its pod is not":
        (lambda p: p.worker["securityContext"].update(runAsUser=0), "runAsUser overrides"),
    "a container to start with that has no security context":
        (lambda p: p.pod.update(initContainers=[{"name": "first", "image": p.container["image"]}]), "container first: readOnlyRootFilesystem"),
    "the network of the node": (lambda p: p.pod.update(hostNetwork=True), "hostNetwork is set"),
    "variables for each Service": (lambda p: p.pod.pop("enableServiceLinks"), "enableServiceLinks is not false"),
    "a token of the API": (lambda p: p.worker_pod.update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    "no limit of memory": (lambda p: p.worker["resources"].pop("limits"), "no limit of memory"),
    "nothing at /tmp": (lambda p: p.container["volumeMounts"][1].update(mountPath="/scratch"), "nothing is mounted at /tmp"),
    "the root of a volume as the state folder":
        (lambda p: p.argument(p.worker, "--state", "--state=/var/lib/longrun"), "not below a volume"),
    "a cache as large as its volume": (lambda p: p.argument(p.worker, "--cache-bytes", "--cache-bytes=60Gi"), "leaves no room"),
    "tokens that are not mounted": (lambda p: p.argument(p.worker, "--join", "--join=/run/join"), "mounted at /run/join"),
    "another folder for the probes": (lambda p: p.container["env"][0].update(value="/var/lib/longrun"), "LONGRUN_HOME is"),
    "less time to stop than the worker needs":
        (lambda p: p.worker_pod.update(terminationGracePeriodSeconds=30), "terminationGracePeriodSeconds is 30, the unit says 40"),
    "no time to stop given": (lambda p: p.pod.pop("terminationGracePeriodSeconds"), "terminationGracePeriodSeconds is 30"),
    "more time for trainers than the pod has":
        (lambda p: p.argument(p.worker, "--grace-ms", "--grace-ms=60000"), "--grace-ms is not the program's own"),
    "no probe": (lambda p: p.container.pop("livenessProbe"), "no livenessProbe"),
    "a probe that cannot speak TLS":
        (lambda p: p.container.update(readinessProbe={"grpc": {"port": 7443}, "timeoutSeconds": 10}), "cannot speak TLS"),
    "a probe that gives up too early": (lambda p: p.container["startupProbe"].pop("timeoutSeconds"), "startupProbe gives up"),
}


class Checks(unittest.TestCase):
    def test_each_planted_error_is_found(self):
        for name, (plant, said) in PLANTED.items():
            with self.subTest(name):
                parts = Parts()
                plant(parts)
                found = manifests.problems(parts.objects, Here.context, manifests.VERSIONS[-1:])
                self.assertTrue(any(said in one for one in found), f"expected {said!r} in {json.dumps(found, indent=1)}")

    def test_a_patch_that_no_longer_fits_is_an_error(self):
        target = {"args": ["--state=/x", "--listen=0.0.0.0:7443"]}
        with self.assertRaisesRegex(ValueError, "expected '--listen"):
            manifests.apply_step(target, {"op": "test", "path": "/args/0", "value": "--listen=0.0.0.0:7443"})
        with self.assertRaisesRegex(ValueError, "nothing to replace"):
            manifests.apply_step(target, {"op": "replace", "path": "/name", "value": "x"})


def main(source, binaries):
    Here.source, Here.binaries = pathlib.Path(source), pathlib.Path(binaries)
    Here.context = read_context(Here.source, Here.binaries)
    names = unittest.defaultTestLoader
    suite = unittest.TestSuite(names.loadTestsFromTestCase(case) for case in (Manifests, Checks))
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
