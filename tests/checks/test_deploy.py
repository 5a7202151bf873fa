# SPDX-License-Identifier: MIT
"""Manifests of deploy/ are what the engines' own schemas say, and unknown fields are none of it."""

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tree import ROOT

DEPLOY = ROOT / "deploy"
SRV = os.environ.get("SRV_BIN", str(ROOT / "build/release/cmd/srv"))
COMPOSE_SCHEMA = Path("/usr/lib/python3/dist-packages/compose/config/compose_spec.json")
MANIFESTS = sorted(path for path in DEPLOY.glob("kubernetes/**/*.yaml") if path.name != "kustomization.yaml")
FOLDERS = sorted(path.parent for path in DEPLOY.glob("kubernetes/**/kustomization.yaml"))
STACKS = sorted(DEPLOY.glob("swarm/*.yml"))


def name_of(path):
    return str(path.relative_to(DEPLOY))


# --- Kubernetes: the classes of python3-kubernetes are made of the official OpenAPI document -----------


@pytest.fixture(scope="module")
def models():
    return pytest.importorskip("kubernetes.client.models", reason="there is no python3-kubernetes: scripts/setup test")


def faults(models, value, kind, where):
    """What of a value is not as its type says: unknown and missing members, wrong types."""
    inner = re.fullmatch(r"list\[(.*)\]", kind)
    if inner:
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [fault for i, item in enumerate(value) for fault in faults(models, item, inner[1], f"{where}[{i}]")]
    inner = re.fullmatch(r"dict\(str, (.*)\)", kind)
    if inner:
        if not isinstance(value, dict):
            return [f"{where}: no map"]
        return [fault for key, item in value.items() for fault in faults(models, item, inner[1], f"{where}.{key}")]
    plain = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": (str, int)}
    if kind in plain:
        right = isinstance(value, plain[kind]) and isinstance(value, bool) == (kind == "bool")
        return [] if right else [f"{where}: {value!r} is no {kind}"]
    return object_faults(models, value, getattr(models, kind), where)


def object_faults(models, value, model, where):
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    types = {key: model.openapi_types[name] for name, key in model.attribute_map.items()}
    found = [f"{where}.{key}: unknown" for key in value if key not in types]
    for key, item in value.items():
        found += faults(models, item, types[key], f"{where}.{key}") if key in types else []
    try:  # its setters know which members must be there
        model(**{name: value.get(key) for name, key in model.attribute_map.items()})
    except ValueError as why:
        found.append(f"{where}: {why}")
    return found


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kind_of(document):
    version = "".join(part.capitalize() for part in document["apiVersion"].split("/")[-1:])
    return version + document["kind"]


def check(models, document):
    return faults(models, document, kind_of(document), document["kind"])


@pytest.mark.parametrize("path", MANIFESTS, ids=name_of)
def test_kubernetes_manifest_is_what_the_schema_says(models, path):
    for document in documents(path):
        assert check(models, document) == []


@pytest.mark.parametrize("place, name, value", [
    ((), "specs", {}),
    (("spec",), "completionsMode", "Indexed"),
    (("spec",), "completions", "two"),
    (("spec", "template", "spec", "containers", 0), "argz", []),
    (("spec", "template", "spec", "containers", 0), "args", "bench"),
    (("spec", "template", "spec", "containers", 0, "securityContext"), "privileged", "no"),
    (("spec", "template", "spec", "containers", 0), "name", None),
])  # fmt: skip
def test_kubernetes_check_finds_faults(models, place, name, value):
    job = documents(DEPLOY / "kubernetes/bench/job.yaml")[0]
    broken = copy.deepcopy(job)
    inner = broken
    for step in place:
        inner = inner[step]
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    assert check(models, job) == [] and len(check(models, broken)) >= 1


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_kustomization_builds(models, folder):
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl, which has kustomize")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = [document for document in yaml.safe_load_all(done.stdout) if document]
    assert len(built) == sum(len(documents(path)) for path in MANIFESTS if path.parent == folder)
    for document in built:
        assert check(models, document) == []


def test_kustomizations_name_all_files():
    for folder in FOLDERS:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        assert sorted(kustomization) == ["apiVersion", "images", "kind", "resources"]
        assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS if path.parent == folder]


def test_a_job_has_one_number_of_shards():
    job = documents(DEPLOY / "kubernetes/bench/job.yaml")[0]["spec"]
    env = {one["name"]: one["value"] for one in job["template"]["spec"]["containers"][0]["env"]}
    assert job["completions"] == job["parallelism"] == int(env["SRV_SHARD"]) and job["completionMode"] == "Indexed"


# --- Swarm: the schema that docker-compose carries -------------------------------------------------------


def filled(text):
    """The text with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="there is no python3-jsonschema")
    if not COMPOSE_SCHEMA.exists():
        pytest.skip("there is no docker-compose, which carries the schema: scripts/setup compose")
    return jsonschema.Draft7Validator(json.loads(COMPOSE_SCHEMA.read_text()))


@pytest.mark.parametrize("path", STACKS, ids=name_of)
def test_swarm_stack_is_what_the_schema_says(validator, path):
    stack = yaml.safe_load(filled(path.read_text()))
    assert [error.message for error in validator.iter_errors(stack)] == []
    for service in stack["services"].values():
        assert service["deploy"]["endpoint_mode"] == "dnsrr"  # IPVS is not everywhere
        service["deploy"]["replica"] = 1
        assert len(list(validator.iter_errors(stack))) == 1
        del service["deploy"]["replica"]


# --- both: the words are those of the program ------------------------------------------------------------


def words_of_manifests():
    for path in MANIFESTS:
        for document in documents(path):
            template = document.get("spec", {}).get("template", {})
            for container in template.get("spec", {}).get("containers", []):
                yield name_of(path), container["args"]
    for path in STACKS:
        for service in yaml.safe_load(filled(path.read_text()))["services"].values():
            yield name_of(path), shlex.split(service["command"])


def test_commands_are_those_of_the_program():
    seen = set()
    for where, words in words_of_manifests():
        seen.add(words[0])
        words = [re.sub(r"^http://[a-z]+:\d+/", "http://127.0.0.1:9/", word) for word in words]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SRV_")}
        wrong = [] if words[0] == "bench" else ["--nope"]  # a server would stay; options are read in their order
        done = subprocess.run([SRV, *words, *wrong], capture_output=True, text=True, env=env, timeout=60)
        if wrong:
            assert done.returncode == 2 and "--nope" in done.stderr, (where, done.stderr)
        else:
            assert done.returncode == 1 and '"refused":1' in done.stdout, (where, done.stderr)
    assert seen == {"bench", "serve", "slowapi"}
