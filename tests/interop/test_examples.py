"""docs/examples: what people copy is right, as far as it can be told without the platform it is for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from built import ROOT, flags_of
from certificates import certificates
from examples import EXAMPLES, changed, documents, haproxy, nginx
from fronts import find
from support import default_binary

REPLICAS = [("127.0.0.1:1001", "127.0.0.1:1002"), ("127.0.0.1:1003", "127.0.0.1:1004")]
KUBERNETES = ("kubernetes/sidecar.yaml", "kubernetes/deployment.yaml")


def check(*arguments: str) -> str:
    """Exit status 0, or the test fails with what it says."""
    command = [default_binary(), "check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env={})
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    path = tmp_path / "tokens"
    path.write_text(f"alice {'1' * 64}\n")
    return str(path)


# ---- the configuration ----


def test_whole_configuration(tmp_path: Path, tokens: str) -> None:
    text = changed(
        "tidegate.yaml",
        {
            "/etc/tidegate/site.pem": certificates().cert,
            "/etc/tidegate/site-key.pem": certificates().key,
            "/etc/tidegate/internal-ca.pem": certificates().ca,
            "/etc/tidegate/tokens": tokens,
        },
    )
    path = tmp_path / "tidegate.yaml"
    path.write_text(text)
    assert "4 routes" in check("--config", str(path))


# ---- Kubernetes ----


def the(kind: str, name: str) -> dict[str, Any]:
    found = [document for document in documents(name) if document["kind"] == kind]
    assert len(found) == 1, f"{name}: {len(found)} of {kind}"
    return found[0]


def pod_of(name: str) -> dict[str, Any]:
    return the("Deployment", name)["spec"]["template"]["spec"]


def tidegate_of(name: str) -> dict[str, Any]:
    pod = pod_of(name)
    found = [c for c in [*pod.get("initContainers", []), *pod["containers"]] if c["name"] == "tidegate"]
    assert len(found) == 1
    return found[0]


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def settings_of(name: str) -> dict[str, Any]:
    """From the file of the ConfigMap, or the arguments."""
    if "sidecar" in name:
        return dict(argument.removeprefix("--").split("=", 1) for argument in tidegate_of(name)["args"][1:])
    return yaml.safe_load(the("ConfigMap", name)["data"]["tidegate.yaml"])


def test_sidecar_arguments(tokens: str) -> None:
    arguments = tidegate_of("kubernetes/sidecar.yaml")["args"]
    assert arguments[0] == "serve"
    check(*(argument.replace("/etc/tidegate/tokens", tokens) for argument in arguments[1:]))
    assert pod_of("kubernetes/sidecar.yaml")["initContainers"][0]["restartPolicy"] == "Always"
    the("Secret", "kubernetes/sidecar.yaml")


def test_configuration_of_the_deployment(tmp_path: Path, tokens: str) -> None:
    path = tmp_path / "tidegate.yaml"
    text = the("ConfigMap", "kubernetes/deployment.yaml")["data"]["tidegate.yaml"]
    path.write_text(text.replace("/etc/tidegate/secret/tokens", tokens))
    assert "2 routes" in check("--config", str(path))
    container = tidegate_of("kubernetes/deployment.yaml")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"] == ["serve", "--config", f"{mounts['config']}/tidegate.yaml"]
    assert settings_of("kubernetes/deployment.yaml")["tokens"] == f"{mounts['secret']}/tokens"


@pytest.mark.parametrize("name", KUBERNETES)
def test_container(name: str) -> None:
    """Restricted, with probes on the status listener, and with time to drain."""
    pod, container, settings = pod_of(name), tidegate_of(name), settings_of(name)
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings["listen"] == f"0.0.0.0:{ports['ws']}"
    assert settings["status"] == f"0.0.0.0:{ports['status']}"
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {probe["port"] for probe in probes.values()} == {"status"}
    grace = pod["terminationGracePeriodSeconds"]
    assert grace > seconds(settings["drain-delay"]) + seconds(settings["drain-timeout"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["fsGroup"] == container["securityContext"]["runAsGroup"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_names_fit_together(name: str) -> None:
    deployment, service = the("Deployment", name), the("Service", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["ws"]


def test_scaled_and_routed() -> None:
    name = "kubernetes/deployment.yaml"
    deployment, service = the("Deployment", name)["metadata"]["name"], the("Service", name)
    scaler = the("HorizontalPodAutoscaler", name)["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment
    assert "replicas" not in the("Deployment", name)["spec"]
    assert the("PodDisruptionBudget", name)["spec"]["selector"] == the("Deployment", name)["spec"]["selector"]
    rule = the("HTTPRoute", name)["spec"]["rules"][0]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}]


# ---- fronts ----


def test_haproxy_likes_it(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy(1000, REPLICAS))
    command = [find("haproxy"), "-c", "-f", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr


def test_nginx_likes_it(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(nginx(1000, REPLICAS, tmp_path))
    command = [find("nginx"), "-t", "-e", f"{tmp_path}/early.log", "-c", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "[warn]" not in result.stderr


def below(value: Any, key: str) -> Iterator[Any]:
    """Every value of that key, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        if name == key:
            yield inner
        yield from below(inner, key)


def test_envoy() -> None:
    """There is no Envoy in Debian; this is what one forgets."""
    (config,) = documents("envoy/envoy.yaml")
    listener = config["static_resources"]["listeners"][0]
    (cluster,) = config["static_resources"]["clusters"]
    assert list(below(listener, "upgrade_type")) == ["websocket"]
    assert list(below(listener, "cluster")) == [cluster["name"]] == [cluster["load_assignment"]["cluster_name"]]
    assert list(below(listener, "timeout")) == ["0s"]
    assert cluster["lb_policy"] == "LEAST_REQUEST"
    assert [check["http_health_check"]["path"] for check in cluster["health_checks"]] == ["/readyz"]
    assert list(below(cluster, "health_check_config")) == [{"port_value": 8081}] * 2
    assert min(cluster["circuit_breakers"]["thresholds"][0].values()) > 1024
    names = [config["@type"] for config in below(listener, "typed_config")]
    assert all(name.startswith("type.googleapis.com/envoy.extensions.") for name in names)


# ---- the image ----


def test_dockerfile() -> None:
    lines = (EXAMPLES / "docker/Dockerfile").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    assert code[:2] == ["ARG BUILD_BASE", "ARG RUN_BASE"]  # no default: an image comes from where people say
    assert [line.split()[1] for line in code if line.startswith("FROM ")] == ["${BUILD_BASE}", "${RUN_BASE}"]
    second = code[code.index("FROM ${RUN_BASE}") :]
    assert "USER 65532:65532" in second
    assert not any(line.startswith("RUN ") for line in second)  # there is no shell
    assert 'ENTRYPOINT ["/usr/bin/tidegate"]' in second


def test_no_image_from_anywhere() -> None:
    for path in EXAMPLES.rglob("*"):
        if not path.is_file():
            continue
        text = path.read_text()
        for image in re.findall(r"^\s*(?:-\s*)?image:\s*(\S+)", text, re.MULTILINE):
            assert "/" not in image and re.fullmatch(r"[a-z]+:[0-9.]+", image), (path, image)


# ---- all of them ----


def test_only_flags_that_there_are() -> None:
    flags = {flag for subcommand in ("serve", "tunnel", "token", "probe") for flag in flags_of(subcommand)}
    others = {"--build-arg", "--read-only", "--cap-drop", "--security-opt"}  # docker's
    others |= {"--buildtype", "--from", "--interval", "--timeout"}
    for path in EXAMPLES.rglob("*"):
        if path.is_file() and path.parent.name != "systemd":
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text()))
            assert named <= flags | others, (path, named - flags - others)


def test_all_are_in_the_table() -> None:
    table = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.rglob("*"):
        name = path.relative_to(EXAMPLES)
        if path.is_file() and path.suffix not in (".md", ".dockerignore"):
            assert f"`{name}`" in table or f"`{name.parent}/`" in table, f"{name} is not in {(EXAMPLES / 'README.md').relative_to(ROOT)}"
