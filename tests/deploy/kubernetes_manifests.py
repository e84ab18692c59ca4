"""The manifests of deploy/kubernetes, as `kubectl apply -k` sends them, and what is wrong with them.

The schemas of the API (kubernetes-validate) detect misspelt keys and wrong types. They know neither the values of
enumerations nor what one object says of another, so `problems` also checks these.
"""
import contextlib
import copy
import io
import pathlib
import re

try:
    import kubernetes_validate
    import yaml
except ImportError as error:
    raise SystemExit(f"{error}: `./dev test` installs kubernetes-validate into .venv; run this with .venv/bin/python3")

# The oldest version that deploy/README.md names, and the newest that kubernetes-validate knows.
VERSIONS = ["1.29", "1.37"]

# By the end of a path: the values that the API accepts.
ENUMERATIONS = {
    "kind": {"Namespace", "Service", "StatefulSet", "NetworkPolicy", "Job"},
    "Service.spec.type": {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"},
    "Service.spec.clusterIP": {"None"},
    "policyTypes.*": {"Ingress", "Egress"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "persistentVolumeClaimRetentionPolicy.whenDeleted": {"Retain", "Delete"},
    "persistentVolumeClaimRetentionPolicy.whenScaled": {"Retain", "Delete"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
    "seccompProfile.type": {"RuntimeDefault", "Localhost", "Unconfined"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "accessModes.*": {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"},
    "capabilities.drop.*": {"ALL"},
    "Job.spec.completionMode": {"NonIndexed", "Indexed"},
    "podFailurePolicy.rules.*.action": {"FailJob", "FailIndex", "Ignore", "Count"},
    "onPodConditions.*.type": {"DisruptionTarget", "Ready", "PodScheduled", "ContainersReady", "Initialized"},
    "onPodConditions.*.status": {"True", "False", "Unknown"},
    "onExitCodes.operator": {"In", "NotIn"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "tolerations.*.operator": {"Exists", "Equal"},
    "tolerations.*.effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
}
CAPITALISED = re.compile(r"^[A-Z][A-Za-z]+$")
SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


# ---- what kubectl sends --------------------------------------------------------------------------

def render(folder):
    """The objects of a kustomization; of kustomize, only what deploy/kubernetes uses."""
    folder = pathlib.Path(folder)
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - {"apiVersion", "kind", "resources", "images", "patches"}
    if unknown or kustomization["kind"] != "Kustomization":
        raise ValueError(f"{folder}: this test does not know {unknown or kustomization['kind']} of kustomize")
    objects = []
    for name in kustomization["resources"]:
        path = folder / name
        objects += render(path) if path.is_dir() else [one for one in yaml.safe_load_all(path.read_text()) if one]
    for patch in kustomization.get("patches", []):
        target = patch["target"]
        found = [one for one in objects if one["kind"] == target["kind"] and one["metadata"]["name"] == target["name"]]
        if len(found) != 1:
            raise ValueError(f"{folder}: {len(found)} objects for the patch of {target}")
        for step in yaml.safe_load(patch["patch"]):
            apply_step(found[0], step)
    for image in kustomization.get("images", []):
        for container in containers_of(objects):
            name, _, tag = container["image"].rpartition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return objects


def apply_step(target, step):
    """One operation of a JSON patch."""
    *above, last = [word.replace("~1", "/").replace("~0", "~") for word in step["path"].split("/")[1:]]
    for word in above:
        target = target[int(word)] if isinstance(target, list) else target[word]
    if isinstance(target, list):
        last = int(last)
    if step["op"] == "test":
        if target[last] != step["value"]:
            raise ValueError(f"{step['path']} is {target[last]!r}, expected {step['value']!r}")
    elif step["op"] == "remove":
        del target[last]
    elif step["op"] in ("add", "replace") and isinstance(target, dict):
        if step["op"] == "replace" and last not in target:
            raise ValueError(f"{step['path']}: there is nothing to replace")
        target[last] = copy.deepcopy(step["value"])
    else:
        raise ValueError(f"this test does not know {step['op']} at {step['path']}")


def template_of(one):
    return one["spec"]["template"] if one["kind"] in ("StatefulSet", "Job") else None


def workloads(objects):
    return [one for one in objects if template_of(one)]


def containers_of(objects):
    for one in workloads(objects):
        pod = template_of(one)["spec"]
        yield from pod.get("initContainers", []) + pod["containers"]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", str(text)).groups()
    return int(number) * SIZES[unit]


def options(container):
    """--name=value by name."""
    return dict(word.split("=", 1) for word in container.get("args", []) if "=" in word)


# ---- what is wrong -------------------------------------------------------------------------------

class Context:
    """What the manifests have to agree with."""

    def __init__(self, version, image_user, readme, units, grace_ms_default, check_s):
        self.version = version                    # of the project
        self.image_user = image_user              # USER of the Containerfile
        self.grace_s = {name: int(re.search(r"(?m)^TimeoutStopSec=(\d+)s$", text)[1]) for name, text in units.items()}
        self.grace_ms_default = grace_ms_default  # of longrun-worker
        self.check_s = check_s                    # of longrun-coordinator --check-health
        # What deploy/README.md makes with kubectl: (kind, name).
        commands = readme.replace("\\\n", " ")
        made = re.findall(r"kubectl .*?create (secret generic|configmap) ([a-z0-9-]+)", commands)
        self.made = {("Secret" if kind.startswith("secret") else "ConfigMap", name) for kind, name in made}


def schema_problems(objects, versions):
    found = []
    for version in versions:
        for one in objects:
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{one.get('kind')}: Kubernetes {version}: {error.message}")
    return found


def enumeration_problems(objects):
    found = []

    def matches(path, pattern):
        words = pattern.split(".")
        return len(path) >= len(words) and all(w in ("*", p) for w, p in zip(words, path[-len(words):]))

    def walk(node, path):
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, path + [key])
        elif isinstance(node, list):
            for i, value in enumerate(node):
                walk(value, path + [str(i)])
        else:
            allowed = [values for pattern, values in ENUMERATIONS.items() if matches(path, pattern)]
            place = ".".join(path)
            if allowed and str(node) not in allowed[0]:
                found.append(f"{place}: {node!r} is none of {sorted(allowed[0])}")
            elif not allowed and isinstance(node, str) and CAPITALISED.match(node) and path[-1] != "value":
                found.append(f"{place}: {node!r} looks like an enumeration: add its values to ENUMERATIONS")

    for one in objects:
        walk(one, [one["kind"]])
    return found


def selector_problems(objects):
    labels = [template_of(one)["metadata"]["labels"] for one in workloads(objects)]

    def selects(selector, of):
        return all(of.get(key) == value for key, value in selector.items())

    found = []
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "StatefulSet":
            if not selects(one["spec"]["selector"]["matchLabels"], template_of(one)["metadata"]["labels"]):
                found.append(f"{name}: its selector does not match the labels of its pods")
            services = [s for s in objects if s["kind"] == "Service" and s["metadata"]["name"] == one["spec"]["serviceName"]]
            if not services or services[0]["spec"].get("clusterIP") != "None":
                found.append(f"{name}: its Service {one['spec']['serviceName']} is not a headless one")
        selectors = []
        if one["kind"] == "Service":
            selectors = [one["spec"]["selector"]]
        if one["kind"] == "NetworkPolicy":
            selectors = [one["spec"]["podSelector"].get("matchLabels", {})]
            for rule in one["spec"].get("ingress", []) + one["spec"].get("egress", []):
                for peer in rule.get("to", []) + rule.get("from", []):
                    if "podSelector" in peer:
                        selectors.append(peer["podSelector"]["matchLabels"])
        for selector in selectors:
            if not any(selects(selector, of) for of in labels):
                found.append(f"{name}: no pod has the labels {selector}")
    return found


def name_problems(objects, context):
    """Everything that is named exists, or deploy/README.md has the command that makes it."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects} | context.made
    namespaces = {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    found = []
    for one in objects:
        if one["kind"] != "Namespace" and one["metadata"].get("namespace") not in namespaces:
            found.append(f"{one['kind']} {one['metadata']['name']}: no such namespace: {one['metadata'].get('namespace')}")
    for one in workloads(objects):
        pod = template_of(one)["spec"]
        where = f"{one['kind']} {one['metadata']['name']}"
        wanted = []
        for volume in pod.get("volumes", []):
            wanted += [("Secret", volume["secret"]["secretName"])] if "secret" in volume else []
            wanted += [("ConfigMap", volume["configMap"]["name"])] if "configMap" in volume else []
            if "persistentVolumeClaim" in volume:
                wanted.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            if "hostPath" in volume:
                found.append(f"{where}: volume {volume['name']} is a folder of the node")
        for container in containers_of([one]):
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {})
                wanted += [("Secret", source["secretKeyRef"]["name"])] if "secretKeyRef" in source else []
                wanted += [("ConfigMap", source["configMapKeyRef"]["name"])] if "configMapKeyRef" in source else []
        for kind, name in wanted:
            if (kind, name) not in there:
                found.append(f"{where}: {kind} {name} is not in the manifests, and deploy/README.md does not make it")
        names = {volume["name"] for volume in pod.get("volumes", [])}
        names |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for container in containers_of([one]) for mount in container.get("volumeMounts", [])}
        for name in sorted(mounted ^ names):
            found.append(f"{where}: volume {name} is not both declared and mounted")
    for one in objects:
        for rule in one["spec"].get("podFailurePolicy", {}).get("rules", []) if "spec" in one else []:
            container = rule.get("onExitCodes", {}).get("containerName")
            if container and container not in {c["name"] for c in containers_of([one])}:
                found.append(f"{one['kind']} {one['metadata']['name']}: podFailurePolicy: no container {container}")
    return found


def image_problems(objects, context):
    found = []
    for container in containers_of(objects):
        image = container.get("image", "")
        if re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
            continue
        if not re.fullmatch(rf"[a-z0-9./-]+:{re.escape(context.version)}(-gpu)?", image):
            found.append(f"container {container['name']}: the image {image!r} is not that of version {context.version}")
    return found


def port_problems(objects):
    found = []
    services = {f"{s['metadata']['name']}.{s['metadata']['namespace']}.svc": s for s in objects if s["kind"] == "Service"}
    ports = {}  # containerPort by name
    for container in containers_of(objects):
        for port in container.get("ports", []):
            ports[port["name"]] = port["containerPort"]
            listens = options(container).get("--listen")
            if listens and int(listens.rpartition(":")[2]) != port["containerPort"]:
                found.append(f"container {container['name']}: listens on {listens}, not on {port['containerPort']}")
    for name, service in services.items():
        for port in service["spec"]["ports"]:
            if ports.get(port["targetPort"]) != port["port"]:
                found.append(f"Service {name}: no container has the port {port['port']} ({port['targetPort']})")
    for container in containers_of(objects):
        place = options(container).get("--coordinator")
        if place:
            host, _, port = place.rpartition(":")
            if host not in services or int(port) not in [p["port"] for p in services[host]["spec"]["ports"]]:
                found.append(f"container {container['name']}: no Service is at {place}")
    for policy in (one for one in objects if one["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            for port in rule["ports"]:
                if port["port"] not in [*ports.values(), 53]:
                    found.append(f"NetworkPolicy {policy['metadata']['name']}: nobody listens on {port['port']}")
    return found


def security_problems(objects, context):
    found = []
    for one in workloads(objects):
        pod = template_of(one)["spec"]
        where = f"{one['kind']} {one['metadata']['name']}"
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True:
            found.append(f"{where}: runAsNonRoot is not true")
        if [security.get("runAsUser"), security.get("runAsGroup"), security.get("fsGroup")] != [context.image_user] * 3:
            found.append(f"{where}: runAsUser, runAsGroup and fsGroup are not the image's user, {context.image_user}")
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            found.append(f"{where}: seccompProfile is not RuntimeDefault")
        for key in ("automountServiceAccountToken", "enableServiceLinks"):
            if pod.get(key) is not False:
                found.append(f"{where}: {key} is not false")
        for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.get(key):
                found.append(f"{where}: {key} is set")
        for container in containers_of([one]):
            security = container.get("securityContext", {})
            for key, wanted in (("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True),
                                ("capabilities", {"drop": ["ALL"]})):
                if security.get(key) != wanted:
                    found.append(f"{where}, container {container['name']}: {key} is not {wanted}")
            for key in set(security) - {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}:
                found.append(f"{where}, container {container['name']}: {key} overrides what the pod says")
            if "memory" not in container.get("resources", {}).get("limits", {}):
                found.append(f"{where}, container {container['name']}: no limit of memory")
    return found


def folder_problems(objects):
    found = []
    for one in workloads(objects):
        volumes = {volume["name"]: volume for volume in template_of(one)["spec"].get("volumes", [])}
        for container in containers_of([one]):
            where = f"container {container['name']}"
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            if "/tmp" not in mounts:
                found.append(f"{where}: nothing is mounted at /tmp, and the root is read-only")
            given = options(container)
            state = given.get("--state", "")
            above = [path for path in mounts if state.startswith(path + "/") and not mounts[path].get("readOnly")]
            if not above:
                found.append(f"{where}: the state folder {state!r} is not below a volume (its root is not ours)")
            if "--join" in given and not mounts.get(given["--join"], {}).get("readOnly"):
                found.append(f"{where}: no read-only volume is mounted at {given['--join']}")
            if "--cache-bytes" in given and above:
                limit = volumes.get(mounts[above[0]]["name"], {}).get("emptyDir", {}).get("sizeLimit")
                if limit and size(given["--cache-bytes"]) > 0.8 * size(limit):
                    found.append(f"{where}: a cache of {given['--cache-bytes']} leaves no room in {limit}")
            for variable in container.get("env", []):
                if variable["name"] == "LONGRUN_HOME" and variable.get("value") != state:
                    found.append(f"{where}: LONGRUN_HOME is {variable.get('value')}, not {state}")
    return found


def time_problems(objects, context):
    found = []
    for one in workloads(objects):
        pod = template_of(one)["spec"]
        for container in pod["containers"]:
            program = container["command"][0]
            where = f"{one['kind']} {one['metadata']['name']}"
            grace = pod.get("terminationGracePeriodSeconds", 30)
            if grace != context.grace_s[program]:
                found.append(f"{where}: terminationGracePeriodSeconds is {grace}, the unit says {context.grace_s[program]}")
            if program == "longrun-worker" and int(options(container)["--grace-ms"]) != context.grace_ms_default:
                found.append(f"{where}: --grace-ms is not the program's own {context.grace_ms_default}")
            for name in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(name)
                if program == "longrun-coordinator" and probe is None:
                    found.append(f"{where}: no {name}")
                elif probe and probe.get("timeoutSeconds", 1) <= context.check_s:
                    found.append(f"{where}: {name} gives up before its command does, after {context.check_s} s")
                elif probe and "exec" not in probe:
                    found.append(f"{where}: {name} is not a command: the kubelet cannot speak TLS to the port")
    return found


def problems(objects, context, versions=tuple(VERSIONS)):
    """All of them, as texts. Objects that do not match their schema are not looked at further."""
    found = schema_problems(objects, versions)
    if found:
        return found
    return (enumeration_problems(objects) + selector_problems(objects) + name_problems(objects, context)
            + image_problems(objects, context) + port_problems(objects) + security_problems(objects, context)
            + folder_problems(objects) + time_problems(objects, context))
