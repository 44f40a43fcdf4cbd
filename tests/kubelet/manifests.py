"""What the chart renders, as the objects that this play needs: the StatefulSet's container, probes and hooks.

Asks helm and reads YAML; starts nothing.
"""

import os
import subprocess

import yaml


class ManifestError(Exception):
    """The chart does not render, or renders something that this play does not know."""


def render(helm, chart, release, namespace, values):
    """All objects of the chart, by (kind, name)."""
    command = [helm, "template", release, chart, "--namespace", namespace]
    for name, value in values.items():
        command += ["--set", f"{name}={value}"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise ManifestError(error.stderr.strip()) from error
    objects = [one for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


class Workload:
    """The StatefulSet, with one container that matters."""

    def __init__(self, objects, namespace):
        sets = [one for (kind, _), one in objects.items() if kind == "StatefulSet"]
        if len(sets) != 1:
            raise ManifestError(f"{len(sets)} StatefulSets")
        self.object, self.namespace = sets[0], namespace
        self.name = self.object["metadata"]["name"]
        self.replicas = self.object["spec"]["replicas"]
        self.parallel = self.object["spec"]["podManagementPolicy"] == "Parallel"
        self.min_ready = self.object["spec"].get("minReadySeconds", 0)
        self.pod = self.object["spec"]["template"]["spec"]
        self.container = self.pod["containers"][0]
        self.grace = self.pod["terminationGracePeriodSeconds"]
        self.pre_stop = self.container["lifecycle"]["preStop"]["exec"]["command"]
        self.peers_name = f"{self.object['spec']['serviceName']}.{namespace}.svc.cluster.local"
        context = self.pod["securityContext"] | self.container["securityContext"]
        self.user = (context["runAsUser"], context.get("runAsGroup", context["runAsUser"]))
        if not context["readOnlyRootFilesystem"]:
            raise ManifestError("the root can be written")
        self._ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def command(self):
        return [*self.container["command"], *self.container["args"]]

    def environment(self, pod_name, address):
        """The container's environment, its references to fields of the pod filled in."""
        fields = {
            "metadata.name": pod_name, "metadata.namespace": self.namespace, "status.podIP": address,
            "metadata.labels['topology.kubernetes.io/zone']": "",
        }  # fmt: skip
        values = {"PATH": "/usr/local/bin:/usr/bin"}
        for one in self.container["env"]:
            values[one["name"]] = one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        return values

    def probe(self, name):
        return Probe(self.container[name], self._ports) if name in self.container else None

    def port(self, name):
        return self._ports[name]

    def mounts(self):
        """Where a service account's token goes, if the container gets one."""
        return [mount["mountPath"] for mount in self.container.get("volumeMounts", []) if mount["name"] == "api-access"]


class Probe:
    """An httpGet probe, with Kubernetes' defaults."""

    def __init__(self, told, ports):
        get = told["httpGet"]
        self.path = get["path"]
        self.port = ports[get["port"]] if isinstance(get["port"], str) else get["port"]
        self.period = told.get("periodSeconds", 10)
        self.timeout = told.get("timeoutSeconds", 1)
        self.failures_max = told.get("failureThreshold", 3)
        self.delay = told.get("initialDelaySeconds", 0)


def helm_binary(tools):
    path = os.path.join(tools, "charts", "helm-4", "helm")
    if not os.access(path, os.X_OK):
        raise ManifestError("no helm: scripts/install-tools.sh charts")
    return path
