"""The chart: Helm's own linter and renderer (helm-python-sdk has them as a library), Kubernetes' schemas of what is
rendered (kubernetes-validate), and the gateway's word on the configuration that comes out."""

import pathlib
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/wrtc-gateway"
KUBERNETES = ["1.36.0", "1.37.0"]
# Of the Prometheus operator, not of Kubernetes.
FOREIGN = {"ServiceMonitor"}
gateway = sys.argv[1]
failures = []


def expect(true, what):
    if not true:
        failures.append(what)


PLAIN = {"config": {"sip": {"servers": ["sip:sip.example:5060"]}}}
FULL = {
    "gateways": [
        {"name": "a", "advertise": ["$(HOST_IP)", "203.0.113.5"], "host": "a.example",
         "nodePorts": {"http": 30086, "media": 30100}, "nodeSelector": {"zone": "one"}},
        {"name": "b", "sipAdvertise": "203.0.113.6:5062", "host": "b.example",
         "nodePorts": {"http": 30087, "media": 30110}},
    ],
    "network": {"mode": "nodePort"},
    "config": {
        "sip": {"servers": ["sip:a.example;transport=tcp", "sip:b.example"], "register_rate": 50},
        "http": {"base_path": "/phones", "allowed_origins": ["https://wwe.example"]},
        "media": {"workers": 2, "codecs": ["OPUS", "PCMA"]},
        "gateway": {"drain_seconds": 600},
        "log": {"level": 'info,wrtc_gateway::sip=debug'},
    },
    "tls": {"secretName": "tls"},
    "secretFiles": [{"name": "turn", "secretName": "turn"}],
    "env": [{"name": "WRTC_TURN__SECRET",
             "valueFrom": {"secretKeyRef": {"name": "turn", "key": "secret"}}}],
    "persistence": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecretName": "tls"},
    "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "operator"}},
    "updateStrategy": "OnDelete",
}
FULL_HOST = FULL | {"network": {"mode": "host"}}


def render(values):
    """What `helm template` prints, as documents."""
    documents = []
    for path, text in chart.render(values, name="gw", namespace="phones").items():
        if path.endswith(".yaml"):
            documents += [document for document in yaml.safe_load_all(text) if document]
    return documents


def kind(documents, name):
    return [document for document in documents if document["kind"] == name]


def lint(name, values):
    report = helm_python.lint(CHART, values, strict=True, namespace="phones")
    # Severity 1 is Helm's opinion on icons.
    told = [message for message in report["messages"] if message["severity"] > 1]
    expect(not told and not report["errors"], f"{name}: helm lint: {told} {report['errors']}")


def refused(values, word):
    try:
        chart.validate_schema(values)
        chart.render(values, name="gw", namespace="phones")
    except Exception as error:
        expect(word in str(error), f"the refusal should speak of {word}: {error}")
    else:
        failures.append(f"values without a fault although {word} is wrong")


def check_configuration(name, documents):
    """The file and the environment of each pod, to the gateway itself."""
    text = kind(documents, "ConfigMap")[0]["data"]["gw.toml"]
    # Files that a cluster would have mounted.
    for stateful_set in kind(documents, "StatefulSet"):
        container = stateful_set["spec"]["template"]["spec"]["containers"][0]
        environment = {}
        for variable in container["env"]:
            value = variable.get("value", "192.0.2.7-of-the-node")
            environment[variable["name"]] = value.replace("$(HOST_IP)", "192.0.2.7")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([gateway, "check", "--elsewhere", "--config", file.name], env=environment,
                                  capture_output=True, text=True)
        expect(done.returncode == 0, f"{name}: the gateway says of\n{text}\n{done.stderr}")


def check_pods(name, documents, values):
    gateways = kind(documents, "StatefulSet")
    expect(len(gateways) == len(values.get("gateways", [1])), f"{name}: a pod for each gateway")
    drain = values["config"].get("gateway", {}).get("drain_seconds", 120)
    for stateful_set in gateways:
        pod = stateful_set["spec"]["template"]["spec"]
        container = pod["containers"][0]
        wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        expect(pod["terminationGracePeriodSeconds"] > drain + wait, f"{name}: calls have no time to end")
        strategy = values.get("updateStrategy", "RollingUpdate")
        expect(stateful_set["spec"]["updateStrategy"] == {"type": strategy}, f"{name}: who restarts the pods")
        expect(stateful_set["spec"]["replicas"] == 1, f"{name}: two would register the same DNs")
        security = container["securityContext"]
        expect(pod["securityContext"]["runAsNonRoot"] and security["readOnlyRootFilesystem"]
               and not security["allowPrivilegeEscalation"] and security["capabilities"]["drop"] == ["ALL"],
               f"{name}: more rights than it needs")
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in stateful_set["spec"].get("volumeClaimTemplates", [])}
        expect(mounted == volumes, f"{name}: volumes {volumes}, mounts {mounted}")
        # Each selector finds this pod and no other's.
        labels = stateful_set["spec"]["template"]["metadata"]["labels"]
        selects = lambda selector: selector.items() <= labels.items()
        expect(selects(stateful_set["spec"]["selector"]["matchLabels"]), f"{name}: selects nothing")
        services = [s for s in kind(documents, "Service") if selects(s["spec"]["selector"])]
        expect(len(services) == 1, f"{name}: {len(services)} services for a gateway")
        expect(stateful_set["spec"]["serviceName"] == services[0]["metadata"]["name"], f"{name}: its service")
        expect(services[0]["spec"]["publishNotReadyAddresses"], f"{name}: a draining gateway's agents are cut off")
    [budget] = kind(documents, "PodDisruptionBudget")
    expect(budget["spec"]["maxUnavailable"] == 1, f"{name}: one after another")


chart = helm_python.Chart.load(CHART)
for name, values in [("plain", PLAIN), ("full", FULL), ("full, host network", FULL_HOST)]:
    lint(name, values)
    chart.validate_schema(values)
    documents = render(values)
    for document in documents:
        for version in KUBERNETES:
            if document["kind"] not in FOREIGN:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except Exception as error:
                    failures.append(f"{name}: {document['kind']} {version}: {error}")
    check_configuration(name, documents)
    check_pods(name, documents, values)
    names = [(d["kind"], d["metadata"]["name"]) for d in documents]
    expect(len(names) == len(set(names)), f"{name}: two of a name: {names}")

# In NodePort mode the port a browser is told is the node's, for each worker.
documents = render(FULL)
ports = [port for service in kind(documents, "Service") for port in service["spec"]["ports"]]
expect(all(port["nodePort"] == port["port"] for port in ports if port.get("protocol") == "UDP"), "media ports differ")
expect(len({port["nodePort"] for port in ports}) == len(ports) == 6, f"node ports meet: {ports}")
refused({"config": {"sip": {"servers": []}}}, "sip.servers")
refused({"config": {"sip": {"servers": ["a"]}}, "gatways": []}, "gatways")
refused(PLAIN | {"network": {"mode": "bridge"}}, "mode")
refused({"config": PLAIN["config"] | {"media": {"listen": "0.0.0.0:1"}}}, "media")
refused(PLAIN | {"network": {"mode": "nodePort"}, "gateways": [{"name": "a"}]}, "nodePorts")
refused(PLAIN | {"ingress": {"enabled": True}, "gateways": [{"name": "a"}]}, "host")

for failure in failures:
    print(f"FAILED: {failure}", file=sys.stderr)
print(f"helm: {len(failures)} faults")
sys.exit(bool(failures))
