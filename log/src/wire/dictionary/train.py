#!/usr/bin/env python3
"""Trains the built-in dictionary of Kubernetes JSON.

Writes made-up objects, in the canonical form in which bodies travel (sorted keys, no spaces, no
resourceVersion, no managedFields), and hands them to `zstd --train`. The seed is fixed, so the same
zstd gives the same dictionary:

    python3 train.py k8s-json-v1.zdict

A dictionary is frozen once released: frames name its number. A better one becomes v2 beside v1.
"""

import json
import random
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

R = random.Random(20260101)
WORDS = """api auth backend batch billing cache camera catalog collector config controller cron data
db device edge events exporter frontend gateway grafana identity influx ingest inventory job line log
metrics modbus model mosquitto mqtt node opc orders payments plc postgres press prometheus proxy queue
redis registry robot scheduler sensor server session shop storage stream sync telemetry time ui vision
web worker""".split()
NAMESPACES = ["default", "kube-system", "production", "staging", "factory", "monitoring", "edge"]
REGISTRIES = ["docker.io/library/", "registry.k8s.io/", "ghcr.io/acme/", "quay.io/acme/", ""]


def pick(*options):
    return R.choice(options)


def word():
    return R.choice(WORDS)


def name():
    return "-".join(word() for _ in range(R.randint(1, 3)))


def uid():
    return str(uuid.UUID(int=R.getrandbits(128), version=4))


def suffix(n=5):
    return "".join(R.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(n))


def time():
    return "2026-%02d-%02dT%02d:%02d:%02dZ" % (
        R.randint(1, 12), R.randint(1, 28), R.randint(0, 23), R.randint(0, 59), R.randint(0, 59))


def ip():
    return "10.%d.%d.%d" % (R.randint(0, 255), R.randint(0, 255), R.randint(1, 254))


def hexa(n):
    return "".join(R.choice("0123456789abcdef") for _ in range(n))


def labels(app):
    out = {"app": app}
    if R.random() < 0.5:
        out = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app,
               "app.kubernetes.io/component": word(), "app.kubernetes.io/part-of": word(),
               "app.kubernetes.io/managed-by": pick("Helm", "kustomize"),
               "app.kubernetes.io/version": "1.%d.%d" % (R.randint(0, 30), R.randint(0, 9))}
    if R.random() < 0.4:
        out["tier"] = pick("frontend", "backend", "edge")
    return out


def meta(kind_name, namespaced=True, app=None, annotations=True):
    out = {"creationTimestamp": time(), "name": kind_name, "uid": uid()}
    if namespaced:
        out["namespace"] = R.choice(NAMESPACES)
    if app and R.random() < 0.8:
        out["labels"] = labels(app)
    if R.random() < 0.3:
        out["generation"] = R.randint(1, 9)
    if annotations and R.random() < 0.3:
        out["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration":
                              '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{},"name":"%s","namespace":"default"}}\n' % kind_name}
    return out


def probe():
    out = pick({"httpGet": {"path": pick("/healthz", "/ready", "/"), "port": pick("http", 8080), "scheme": "HTTP"}},
               {"tcpSocket": {"port": 8080}}, {"exec": {"command": ["cat", "/tmp/healthy"]}})
    return dict(out, failureThreshold=3, initialDelaySeconds=R.randint(1, 30), periodSeconds=10,
                successThreshold=1, timeoutSeconds=1)


def container(app):
    out = {"image": "%s%s:%s" % (R.choice(REGISTRIES), app, pick("latest", "1.2.3", "v0.9.1")),
           "imagePullPolicy": pick("IfNotPresent", "Always"), "name": app,
           "resources": pick({}, {"limits": {"cpu": "500m", "memory": "128Mi"},
                                  "requests": {"cpu": "100m", "memory": "64Mi"}}),
           "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    if R.random() < 0.5:
        out["env"] = R.sample([
            {"name": "LOG_LEVEL", "value": pick("info", "debug")},
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"key": "password", "name": name()}}},
            {"name": "SETTING", "valueFrom": {"configMapKeyRef": {"key": "setting", "name": name()}}}], R.randint(1, 4))
    if R.random() < 0.3:
        out["envFrom"] = [{"configMapRef": {"name": name()}}, {"secretRef": {"name": name()}}]
    if R.random() < 0.5:
        out["command"] = pick(["sh", "-c", "while true; do date; sleep 5; done"], ["/bin/" + app], ["sleep", "3600"])
    if R.random() < 0.3:
        out["args"] = ["--config=/etc/%s/config.yaml" % app, "--v=2"]
    if R.random() < 0.5:
        out["ports"] = [{"containerPort": pick(80, 8080, 9090, 1883), "name": pick("http", "metrics", "mqtt"), "protocol": "TCP"}]
    if R.random() < 0.4:
        out["livenessProbe"] = probe()
        out["readinessProbe"] = probe()
    if R.random() < 0.3:
        out["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                                  "readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 1000}
    out["volumeMounts"] = [{"mountPath": "/etc/" + app, "name": "config"},
                           {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                            "name": "kube-api-access-" + suffix(), "readOnly": True}][:R.randint(0, 2)]
    return out


def pod_spec(app):
    out = {"containers": [container(name()) for _ in range(pick(1, 1, 2))], "dnsPolicy": "ClusterFirst",
           "enableServiceLinks": True, "nodeName": "edge-%d" % R.randint(0, 99), "preemptionPolicy": "PreemptLowerPriority",
           "priority": 0, "restartPolicy": pick("Always", "OnFailure", "Never"), "schedulerName": "default-scheduler",
           "securityContext": {}, "serviceAccount": "default", "serviceAccountName": "default",
           "terminationGracePeriodSeconds": 30,
           "tolerations": [
               {"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
               {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}]}
    if R.random() < 0.5:
        out["nodeSelector"] = {"kubernetes.io/hostname": out["nodeName"]}
    if R.random() < 0.3:
        out["hostNetwork"] = True
    volumes = [
        {"configMap": {"defaultMode": 420, "name": name()}, "name": "config"},
        {"name": "secret", "secret": {"defaultMode": 420, "secretName": name()}},
        {"emptyDir": {}, "name": "cache"},
        {"hostPath": {"path": "/var/lib/" + app, "type": "DirectoryOrCreate"}, "name": "data"},
        {"name": "kube-api-access-" + suffix(), "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}}]}},
        {"name": "data", "persistentVolumeClaim": {"claimName": name()}}]
    out["volumes"] = R.sample(volumes, R.randint(0, 4))
    return out


def pod():
    app = name()
    metadata = meta("%s-%s-%s" % (app, suffix(9), suffix()), app=app)
    if R.random() < 0.5:
        metadata["generateName"] = app + "-"
        metadata["ownerReferences"] = [{"apiVersion": "apps/v1", "blockOwnerDeletion": True, "controller": True,
                                        "kind": pick("ReplicaSet", "DaemonSet", "StatefulSet", "Job"), "name": app, "uid": uid()}]
    if R.random() < 0.1:
        metadata["deletionGracePeriodSeconds"] = 30
        metadata["deletionTimestamp"] = time()
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(app)}


def pod_status():
    ready = R.random() < 0.7
    def condition(kind, ok):
        out = {"lastProbeTime": None, "lastTransitionTime": time(), "status": "True" if ok else "False", "type": kind}
        if not ok:
            out["reason"] = pick("ContainersNotReady", "PodCompleted")
            out["message"] = "containers with unready status: [%s]" % name()
        return out
    state = {"running": {"startedAt": time()}} if ready else pick(
        {"waiting": {"message": "back-off 5m0s restarting failed container", "reason": "CrashLoopBackOff"}},
        {"waiting": {"reason": "ContainerCreating"}}, {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
        {"terminated": {"containerID": "containerd://" + hexa(64), "exitCode": R.randint(0, 2),
                        "finishedAt": time(), "reason": pick("Completed", "Error"), "startedAt": time()}})
    containers = [{"containerID": pick("containerd://" + hexa(64), "process://%d" % R.randint(100, 99999)), "image": "docker.io/library/%s:latest" % name(),
                   "imageID": pick("", "docker.io/library/%s@sha256:%s" % (name(), hexa(64))), "lastState": {}, "name": name(),
                   "ready": ready, "restartCount": R.randint(0, 9), "started": ready, "state": state}]
    host = ip()
    return {"conditions": [condition("PodReadyToStartContainers", True), condition("Initialized", True), condition("Ready", ready), condition("ContainersReady", ready),
                           condition("PodScheduled", True)],
            "containerStatuses": containers, "hostIP": host, "hostIPs": [{"ip": host}], "phase": pick("Running", "Pending", "Succeeded", "Failed"),
            "podIP": host, "podIPs": [{"ip": host}], "qosClass": pick("BestEffort", "Burstable", "Guaranteed"), "startTime": time(),
            "observedGeneration": 1}


def node_name():
    return "edge-%d" % R.randint(0, 99)


def node():
    n = node_name()
    return {"apiVersion": "v1", "kind": "Node", "metadata": dict(meta(n, False), labels={
        "beta.kubernetes.io/arch": "arm64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": pick("amd64", "arm64"),
        "kubernetes.io/hostname": n, "kubernetes.io/os": "linux", "node-role.kubernetes.io/edge": "",
        "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "plant-1"}),
        "spec": pick({}, {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"], "taints": [
            {"effect": "NoSchedule", "key": "node-role.kubernetes.io/edge"}]}, {"unschedulable": True})}


def node_status():
    conditions = [
        {"message": "kubelet has sufficient memory available", "reason": "KubeletHasSufficientMemory", "status": "False", "type": "MemoryPressure"},
        {"message": "kubelet has no disk pressure", "reason": "KubeletHasNoDiskPressure", "status": "False", "type": "DiskPressure"},
        {"message": "kubelet has sufficient PID available", "reason": "KubeletHasSufficientPID", "status": "False", "type": "PIDPressure"},
        {"message": "kubelet is posting ready status", "reason": "KubeletReady", "status": "True", "type": "Ready"}]
    for c in conditions:
        c["lastHeartbeatTime"] = time()
        c["lastTransitionTime"] = time()
    size = {"cpu": str(R.randint(1, 16)), "ephemeral-storage": "%dKi" % R.randint(10**6, 10**8), "hugepages-2Mi": "0",
            "memory": "%dKi" % R.randint(10**6, 10**8), "pods": "110"}
    return {"addresses": [{"address": ip(), "type": "InternalIP"}, {"address": node_name(), "type": "Hostname"}],
            "allocatable": size, "capacity": size, "conditions": conditions, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"architecture": pick("amd64", "arm64"), "bootID": uid(), "containerRuntimeVersion": pick("containerd://2.1.4", "process://0.1.0"),
                         "kernelVersion": "6.12.%d" % R.randint(1, 90), "kubeProxyVersion": "", "kubeletVersion": "v1.32.0", "machineID": hexa(32),
                         "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)", "systemUUID": uid()},
            "images": []}


def text():
    return pick(
        "\n".join("%s.%s=%s" % (word(), word(), R.randint(0, 9999)) for _ in range(R.randint(1, 12))),
        "server:\n  host: 0.0.0.0\n  port: 8080\nlogging:\n  level: info\n%s:\n  enabled: true\n  interval: 10s\n" % word(),
        '{"%s":"%s","enabled":true}' % (word(), name()), "true", "info", str(R.randint(0, 65535)), "http://%s.default.svc.cluster.local:8080" % name())


def configmap():
    n = name()
    return {"apiVersion": "v1", "data": {pick(word(), "config.yaml", "application.properties", "settings.json"): text()
                                         for _ in range(R.randint(1, 4))}, "kind": "ConfigMap", "metadata": meta(n, app=n)}


def secret():
    import base64
    n = name()
    kind = pick("Opaque", "kubernetes.io/tls", "kubernetes.io/dockerconfigjson", "kubernetes.io/service-account-token")
    fields = {"Opaque": ["username", "password"], "kubernetes.io/tls": ["tls.crt", "tls.key", "ca.crt"],
              "kubernetes.io/dockerconfigjson": [".dockerconfigjson"], "kubernetes.io/service-account-token": ["ca.crt", "namespace", "token"]}[kind]
    return {"apiVersion": "v1", "data": {f: base64.b64encode(R.randbytes(R.randint(4, 40))).decode() for f in fields},
            "kind": "Secret", "metadata": meta(n, app=n, annotations=False), "type": kind}


def service():
    n = name()
    a = ip()
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(n, app=n), "spec": {
        "clusterIP": a, "clusterIPs": [a], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": pick("http", "metrics"), "port": 80, "protocol": "TCP", "targetPort": pick(8080, "http")}],
        "selector": {"app": n}, "sessionAffinity": "None", "type": pick("ClusterIP", "NodePort")}, "status": {"loadBalancer": {}}}


def event():
    p = name() + "-" + suffix()
    ns = R.choice(NAMESPACES)
    reason, message = pick(("Started", "Started container " + name()), ("Pulled", 'Container image "%s:latest" already present on machine' % name()),
                           ("Created", "Created container " + name()), ("BackOff", "Back-off restarting failed container"), ("Killing", "Stopping container " + name()),
                           ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
                           ("FailedMount", 'MountVolume.SetUp failed for volume "config" : configmap "%s" not found' % name()),
                           ("Scheduled", "Successfully assigned %s/%s to %s" % (ns, p, node_name())))
    t = time()
    return {"apiVersion": "v1", "count": R.randint(1, 9), "eventTime": None, "firstTimestamp": t, "involvedObject": {
        "apiVersion": "v1", "fieldPath": "spec.containers{%s}" % name(), "kind": "Pod", "name": p, "namespace": ns, "uid": uid()},
        "kind": "Event", "lastTimestamp": t, "message": message, "metadata": {"creationTimestamp": t, "name": "%s.%s" % (p, hexa(16)), "namespace": ns, "uid": uid()},
        "reason": reason, "reportingComponent": "kubelet", "reportingInstance": node_name(),
        "source": {"component": "kubelet", "host": node_name()}, "type": pick("Normal", "Warning")}


def small():
    n = name()
    return pick(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": dict(meta(n, False), labels={"kubernetes.io/metadata.name": n}), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("default")},
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta(n), "spec": {"holderIdentity": n, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"}},
        {"apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "endpoints": [{"addresses": [ip()], "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": node_name(),
            "targetRef": {"kind": "Pod", "name": n, "namespace": "default", "uid": uid()}}], "kind": "EndpointSlice", "metadata": meta(n), "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(n), "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local-path", "volumeMode": "Filesystem"}})


def device():
    n = name()
    return {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": meta(n, app=n), "spec": {
        "deviceModelRef": {"name": word()}, "nodeName": node_name(), "properties": [
            {"collectCycle": 10000, "desired": {"value": str(R.randint(0, 99))}, "name": word(), "reportCycle": 10000, "reportToCloud": True,
             "visitors": {"protocolName": "modbus", "configData": {"register": "HoldingRegister", "offset": R.randint(0, 99), "limit": 1}}} for _ in range(2)],
        "protocol": {"configData": {"baudRate": 9600, "serialPort": "/dev/ttyS0"}, "protocolName": "modbus"}},
        "status": {"lastOnlineTime": time(), "state": "online", "twins": [{"observedDesired": {"metadata": {"timestamp": "1700000000000", "type": "string"}, "value": "1"},
                   "propertyName": word(), "reported": {"metadata": {"timestamp": "1700000000000", "type": "string"}, "value": "1"}}]}}


def refusal():
    n = name()
    return {"apiVersion": "v1", "code": 409, "details": {"group": "apps", "kind": "configmaps", "name": n}, "kind": "Status",
            "message": 'Operation cannot be fulfilled on configmaps "%s": the object has been modified; please apply your changes to the latest version and try again' % n,
            "metadata": {}, "reason": "Conflict", "status": "Failure"}


def request():
    body = configmap()
    return {"base": R.randint(1, 99999), "follows": None, "grace_period_seconds": None, "object": body, "uid": body["metadata"]["uid"], "verb": pick("create", "update", "delete")}


MAKERS = [(pod, 500), (pod_status, 600), (node, 100), (node_status, 150), (configmap, 400), (secret, 250), (service, 150),
          (event, 350), (small, 200), (device, 120), (refusal, 40), (request, 80)]


def main():
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for maker, count in MAKERS:
            for i in range(count):
                path = Path(folder) / ("%s-%04d.json" % (maker.__name__, i))
                path.write_text(json.dumps(maker(), sort_keys=True, separators=(",", ":")))
                paths.append(str(path))
        subprocess.run(["zstd", "-q", "--train", *sorted(paths), "--maxdict=32768", "--dictID=1", "-o", str(target)], check=True)


main()
