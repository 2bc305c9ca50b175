"""The shipped files for launching: each against the schema of what reads it, and against raycache's own names.

Ray's cluster launcher brings its schema. KubeRay's resource definitions come from no package registry; so what is
KubeRay's own here is held to the fields that its API (`ray.io/v1`) has, written down below, and what is Kubernetes' is
validated in full: pods, services, config maps, by the schemas of Kubernetes itself.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raycache import configfile
from raycache.access.user import user_of
from raycache.actors.calls import ROOM_LABEL
from raycache.actors.environment import SETTINGS
from raycache.actors.ray_nodes import ZONE_LABELS
from raycache.config import ClusterConfig
from serve_app.settings import PREFIX, HttpSettings

ROOT = Path(__file__).parents[3]
LAUNCHERS = ("cluster.yaml", "examples/cluster-aws.yaml")
KUBERAY = ("examples/kuberay-raycluster.yaml", "examples/kuberay-rayservice.yaml")
KUBERNETES = "1.33"

GROUP = {
    "type": "object", "required": ["rayStartParams", "template"], "additionalProperties": False,
    "properties": {"rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
                   "template": {"type": "object", "required": ["spec"]}},
}  # fmt: skip
HEAD = copy.deepcopy(GROUP)
HEAD["properties"] |= {"serviceType": {"type": "string"}, "headService": {"type": "object"},  # type: ignore[attr-defined]
                       "enableIngress": {"type": "boolean"}}  # fmt: skip
WORKER = copy.deepcopy(GROUP)
WORKER["required"] = ["groupName", "rayStartParams", "template", "minReplicas", "maxReplicas"]
WORKER["properties"] |= {"groupName": {"type": "string"}, "replicas": {"type": "integer"},  # type: ignore[attr-defined]
                         "minReplicas": {"type": "integer"}, "maxReplicas": {"type": "integer"},
                         "numOfHosts": {"type": "integer"}, "scaleStrategy": {"type": "object"}}  # fmt: skip
CLUSTER: dict[str, Any] = {
    "type": "object", "required": ["headGroupSpec"], "additionalProperties": False,
    "properties": {"rayVersion": {"type": "string"}, "enableInTreeAutoscaling": {"type": "boolean"},
                   "autoscalerOptions": {"type": "object"}, "headServiceAnnotations": {"type": "object"},
                   "suspend": {"type": "boolean"}, "headGroupSpec": HEAD,
                   "workerGroupSpecs": {"type": "array", "items": WORKER}},
}  # fmt: skip
SERVICE: dict[str, Any] = {
    "type": "object", "required": ["serveConfigV2", "rayClusterConfig"], "additionalProperties": False,
    "properties": {"serveConfigV2": {"type": "string"}, "rayClusterConfig": CLUSTER,
                   "serveService": {"type": "object"}},
}  # fmt: skip


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / name).read_text()))


def commands(config: dict[str, Any]) -> dict[str, str]:
    return {role: " ".join(config[f"{role}_start_ray_commands"]) for role in ("head", "worker")}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_rays_launcher_takes_the_file(name: str) -> None:
    validate_config(prepare_config(load(name)))
    wrong = load(name) | {"worker_ip": []}
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(wrong))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_ray_process_gets_the_settings_that_promises_need(name: str) -> None:
    for command in commands(load(name)).values():
        given = dict(re.findall(r"(RAY_\w+)=(\S+)", command))
        assert given.items() >= SETTINGS.items()
        assert given["RAY_AUTH_MODE"] == "token"
    assert "~/.ray/auth_token" in load(name)["file_mounts"]


def test_the_head_takes_no_shards_and_workers_say_their_zone() -> None:
    config = load("cluster.yaml")
    start = commands(config)
    assert f'--labels="{ROOM_LABEL}=0"' in start["head"]
    assert re.search(rf'--labels="{ROOM_LABEL}=\d+,{ZONE_LABELS[0]}=', start["worker"])
    assert "RAY_enable_autoscaler_v2=0" in start["head"]
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    types = load("examples/cluster-aws.yaml")["available_node_types"]
    assert types.pop("head")["labels"] == {ROOM_LABEL: "0"}
    assert {one["labels"][ZONE_LABELS[0]] for one in types.values()} == {"a", "b"}
    assert all(int(one["labels"][ROOM_LABEL]) > 0 for one in types.values())


def test_the_block_for_gcs_fault_tolerance_is_good_once_it_counts() -> None:
    text = (ROOT / "cluster.yaml").read_text()
    block = text[text.index("# head_start_ray_commands:") :]
    told = yaml.safe_load("\n".join(line.removeprefix("#").removeprefix(" ") for line in block.splitlines()))
    config = load("cluster.yaml") | told
    validate_config(prepare_config(config))
    assert "RAY_gcs_storage=rocksdb" in commands(config)["head"]
    shipped = dict(re.findall(r"(RAY_\w+)=(\S+)", commands(load("cluster.yaml"))["head"]))
    assert dict(re.findall(r"(RAY_\w+)=(\S+)", commands(config)["head"])).items() >= shipped.items()


def test_the_cache_on_it_is_good() -> None:
    given = configfile.read((ROOT / "raycache.yaml").read_text(), "raycache.yaml")
    assert (given["shards"], given["bind"]) == ("auto", "node")
    assert given["nodes"] == load("cluster.yaml")["max_workers"]
    configfile.cluster_config(given, shards=4)


def with_security(text: str) -> str:
    """Return a file with the commented lines about users and certificates in it; the hash is one."""
    words = '(?:  )?(?:users:|tls:|- user |- {name: tls|"~/raycache-tls|ca: |cert: |key: |server_name: )'
    lines = re.sub(f"^( *)# ({words})", r"\1\2", text, flags=re.MULTILINE)
    assert lines != text
    return lines.replace("64-hex-digits-of-the-passwords-sha256", "0123456789abcdef" * 4)


def check_security(given: dict[str, Any]) -> ClusterConfig:
    """Return the configuration, which has users and TLS."""
    config = configfile.cluster_config({"name": "features", **given}, shards=2)
    assert [user.name for user in map(user_of, config.users)] == ["web"]
    assert config.tls is not None
    assert config.tls.server_name
    return config


def test_users_and_certificates_are_good_once_they_count() -> None:
    check_security(configfile.read(with_security((ROOT / "raycache.yaml").read_text()), "raycache.yaml"))
    mounts = yaml.safe_load(with_security((ROOT / "cluster.yaml").read_text()))["file_mounts"]
    assert "~/raycache-tls" in mounts


def test_certificates_in_kubernetes_are_good_once_they_count() -> None:
    text = with_security((ROOT / KUBERAY[0]).read_text())
    config_map, cluster, _ = yaml.safe_load_all(text)
    tls = check_security(configfile.read(config_map["data"]["raycache.yaml"], "raycache.yaml")).tls
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        check_pod(group["template"])
        spec = group["template"]["spec"]
        [mount] = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "tls"]
        assert "tls" in [one["name"] for one in spec["volumes"]]
        assert tls is not None
        assert all(path and path.startswith(mount["mountPath"]) for path in (tls.ca, tls.cert, tls.key))


def test_the_http_door_in_kubernetes_is_open_to_nobody_without_a_token(tmp_path: Path) -> None:
    cluster = documents(KUBERAY[1])[0]["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        container = spec["containers"][0]
        variables = {one["name"]: one["value"] for one in container["env"] if one["name"].startswith(PREFIX)}
        [mount] = [one for one in container["volumeMounts"] if one["name"] == "http"]
        path = Path(variables[f"{PREFIX}TOKENS_FILE"])
        assert str(path.parent) == mount["mountPath"]
        (tmp_path / path.name).write_text('[{"name": "shop", "token": "at-least-16-characters"}]')
        settings = HttpSettings.from_environment(variables | {f"{PREFIX}TOKENS_FILE": str(tmp_path / path.name)})
        assert not settings.is_open


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_and_kubernetes_take_the_manifests(name: str) -> None:
    for document in documents(name):
        if document["apiVersion"] != "ray.io/v1":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
            continue
        spec = document["spec"]
        jsonschema.validate(spec, SERVICE if document["kind"] == "RayService" else CLUSTER)
        cluster = spec.get("rayClusterConfig", spec)
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            check_pod(group["template"])
            assert group["rayStartParams"]["labels"].startswith(f"{ROOM_LABEL}=")
        assert cluster["headGroupSpec"]["rayStartParams"]["labels"] == f"{ROOM_LABEL}=0"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**documents(name)[-1].get("spec", {}), "headGroupSpecs": {}}, CLUSTER)


def check_pod(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **template.get("metadata", {})},
           "spec": template["spec"]}  # fmt: skip
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    broken = copy.deepcopy(pod)
    broken["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)
    given = {one["name"]: one.get("value") for one in template["spec"]["containers"][0]["env"]}
    assert given.items() >= SETTINGS.items()
    assert given["RAY_AUTH_MODE"] == "token"


def test_kuberays_config_map_and_service_fit_the_cache() -> None:
    config_map, cluster, service = documents(KUBERAY[0])
    given = configfile.read(config_map["data"]["raycache.yaml"], "raycache.yaml")
    [group] = cluster["spec"]["workerGroupSpecs"]
    assert given["nodes"] == group["replicas"] == group["minReplicas"]
    assert service["spec"]["ports"][0]["targetPort"] == given["gateway_port"]
    labels = group["template"]["metadata"]["labels"]
    selector = service["spec"]["selector"]
    assert selector.pop("ray.io/cluster") == cluster["metadata"]["name"]
    assert selector.items() <= labels.items()


def test_the_serve_application_is_a_serve_config() -> None:
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load(documents(KUBERAY[1])[0]["spec"]["serveConfigV2"]))
    assert schema.applications[0].import_path == "serve_app.app:app"
