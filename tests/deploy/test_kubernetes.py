"""There is no cluster here: what can be read of the manifests is read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.deployed import DEPLOY, ROOT, documents

FOLDER = DEPLOY / "kubernetes"
OVERLAYS = ("base", "batch", "stream")
NOT_RESOURCES = {"kustomization.yaml", "stream.yaml"}
PATCH = FOLDER / "stream" / "exporter.yaml"
RESOURCES = [
    (path, document)
    for path in sorted(FOLDER.rglob("*.yaml"))
    if path.name not in NOT_RESOURCES and path != PATCH
    for document in documents(path)
]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def pod_specs(value: Any) -> list[dict[str, Any]]:
    """Return the pod specs within a resource."""
    if isinstance(value, list):
        return [spec for part in value for spec in pod_specs(part)]
    if not isinstance(value, dict):
        return []
    found = [value] if "containers" in value else []
    return found + [spec for part in value.values() for spec in pod_specs(part)]


CONTAINERS = [
    pytest.param(spec, container, id=f"{path.parent.name} {path.stem} {container['name']}")
    for path, resource in RESOURCES
    for spec in pod_specs(resource)
    for container in (*spec.get("initContainers", []), *spec["containers"])
]


@pytest.mark.parametrize(("spec", "container"), CONTAINERS)
def test_container_has_no_privileges(spec: dict[str, Any], container: dict[str, Any]) -> None:
    """A container gains nothing, has no capability, and is on a read-only root; Flink's is not."""
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    flink = container["name"] == "flink-main-container"  # it writes its configuration
    assert flink or context["readOnlyRootFilesystem"] is True
    user = {**spec.get("securityContext", {}), **context}
    assert user["runAsUser"] > 0


@pytest.mark.parametrize(("spec", "container"), CONTAINERS)
def test_container_has_limits_and_mounts_that_exist(
    spec: dict[str, Any], container: dict[str, Any]
) -> None:
    """Memory is limited, an image has a version, and each mount is a volume of the pod."""
    if container["name"] == "flink-main-container":
        return  # its image and memory are the cluster's, tested below
    assert container["resources"]["limits"]["memory"]
    assert container["image"] in {"tidegauge", "tidegauge-flink"}
    assert {m["name"] for m in container["volumeMounts"]} <= {v["name"] for v in spec["volumes"]}


def test_pods_run_as_no_root_by_policy() -> None:
    """The namespace enforces the restricted standard, and each pod says that it meets it."""
    (namespace,) = documents(FOLDER / "base" / "namespace.yaml")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    specs = [spec for _, resource in RESOURCES for spec in pod_specs(resource)]
    contexts = [spec["securityContext"] for spec in specs if "securityContext" in spec]
    assert len(contexts) == 6
    for context in contexts:
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_kustomization_lists_every_resource(name: str) -> None:
    """No manifest is left out, and the image has the project's version."""
    (config,) = documents(FOLDER / name / "kustomization.yaml")
    files = {path.name for path in (FOLDER / name).glob("*.yaml")} - NOT_RESOURCES
    files -= {PATCH.name} if name == PATCH.parent.name else set()
    assert {entry for entry in config["resources"] if not entry.startswith("..")} == files
    if name != "base":
        assert "../base" in config["resources"]
        assert {"name": "tidegauge", "newTag": VERSION} in config["images"]
        assert all(image["newTag"] == VERSION for image in config["images"])
        assert config["configMapGenerator"] == [{"name": "stream", "files": ["stream.yaml"]}]


def test_exporter_is_probed_and_found() -> None:
    """Probes ask health and readiness; service, monitor and network policy mean the same pods."""
    deployment, service = documents(FOLDER / "base" / "exporter.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    (monitor,) = documents(FOLDER / "base" / "servicemonitor.yaml")
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    assert {monitor["spec"]["jobLabel"], *monitor["spec"]["targetLabels"]} <= set(
        service["metadata"]["labels"]
    )
    assert service["metadata"]["labels"]["job"] == "tidegauge"
    (policy,) = documents(FOLDER / "base" / "networkpolicy.yaml")
    assert policy["spec"]["podSelector"]["matchLabels"] == labels


def test_followed_stream_is_scraped_as_one() -> None:
    """The overlay for streams gives the job whose counters go on."""
    (config,) = documents(FOLDER / "stream" / "kustomization.yaml")
    topic, patch = config["patches"]
    assert topic == {"path": PATCH.name}  # what Flink finds is in a topic
    assert YAML(typ="safe").load(patch["patch"]) == [
        {"op": "replace", "path": "/metadata/labels/job", "value": "tidegauge-stream"}
    ]


def test_flink_outlives_its_job_manager() -> None:
    """Jobs are remembered, checkpoints are on a volume, and a submission is not tried again."""
    cluster, claim = documents(FOLDER / "stream" / "flink.yaml")
    assert cluster["spec"]["image"] == f"tidegauge-flink:{VERSION}"
    settings = cluster["spec"]["flinkConfiguration"]
    assert settings["high-availability.type"] == "kubernetes"
    assert claim["metadata"]["name"] == "checkpoints"
    assert settings["execution.checkpointing.dir"] == "file:///checkpoints"
    (job,) = documents(FOLDER / "stream" / "submit.yaml")
    assert job["spec"]["backoffLimit"] == 0


def test_scheduled_runs_do_not_overlap() -> None:
    """The next run waits for the last one."""
    (run,) = documents(FOLDER / "batch" / "run.yaml")
    assert run["spec"]["concurrencyPolicy"] == "Forbid"


def test_rules_are_those_of_prometheus() -> None:
    """The PrometheusRule holds the rules of deploy/prometheus, and nothing else."""
    (resource,) = documents(FOLDER / "base" / "prometheusrule.yaml")
    (rules,) = documents(DEPLOY / "prometheus" / "rules.yml")
    assert resource["spec"] == rules


def test_routes_are_those_of_alertmanager() -> None:
    """The AlertmanagerConfig has the receivers, routes and inhibitions of deploy/alertmanager."""
    (resource,) = documents(FOLDER / "base" / "alertmanagerconfig.yaml")
    (config,) = documents(DEPLOY / "alertmanager" / "alertmanager.yml")
    spec = resource["spec"]
    assert [r["name"] for r in spec["receivers"]] == [r["name"] for r in config["receivers"]]
    assert [r["receiver"] for r in spec["route"]["routes"]] == [
        r["receiver"] for r in config["route"]["routes"]
    ]
    for ours, theirs in zip(spec["inhibitRules"], config["inhibit_rules"], strict=True):
        for mine, matchers in (
            ("sourceMatch", "source_matchers"),
            ("targetMatch", "target_matchers"),
        ):
            said = [f'{m["name"]}{m.get("matchType", "=")}"{m["value"]}"' for m in ours[mine]]
            assert said == theirs[matchers]


def test_generated_resources_are_what_the_script_writes(tmp_path: Path) -> None:
    """The committed resources are the generated ones."""
    copy = tmp_path / "deploy"
    for name in ("kubernetes", "prometheus", "alertmanager"):
        shutil.copytree(DEPLOY / name, copy / name)
    subprocess.run(
        [sys.executable, copy / "kubernetes" / "build.py"], check=True, capture_output=True
    )
    for name in ("prometheusrule.yaml", "alertmanagerconfig.yaml"):
        assert (copy / "kubernetes" / "base" / name).read_text() == (
            FOLDER / "base" / name
        ).read_text()
