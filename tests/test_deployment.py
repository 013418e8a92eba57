"""What is deployed names options, paths and extras that there are, and asks for no right that it does not need."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from facetell.cli.serve import command

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
DEPLOYMENT, SERVICE, POLICY = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
STORED = yaml.safe_load((DEPLOY / "compose-store.yaml").read_text(encoding="utf-8"))
COMPOSED = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["facetell"]


def started() -> list[str]:
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    words: list[str] = json.loads(found[1])
    return words


@pytest.mark.parametrize(
    "words",
    [started(), CONTAINER["args"], STORED["services"]["facetell"]["command"]],
    ids=["Dockerfile", "Kubernetes", "Compose with a store"],
)
def test_it_is_started_with_options_that_there_are(words: list[str]) -> None:
    assert words[0] == "serve"
    context = command.make_context("serve", words[1:], resilient_parsing=False)
    assert isinstance(context, click.Context)
    assert (context.params["host"], str(context.params["keys"])) == ("0.0.0.0", "/keys/keys.json")
    assert context.params["port"] == CONTAINER["ports"][0]["containerPort"] == 8000
    assert f"EXPOSE {context.params['port']}" in DOCKERFILE


def test_probes_ask_the_server_for_what_it_answers() -> None:
    asked = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["path"] for probe in asked.values()} == {"/ready", "/health"}
    assert asked["livenessProbe"]["path"] == "/health"  # a full queue is no reason for a restart
    routes = (ROOT / "src" / "facetell" / "serving" / "app.py").read_text(encoding="utf-8")
    for probe in asked.values():
        assert f'"{probe["path"]}"' in routes
        assert probe["port"] == CONTAINER["ports"][0]["name"] == SERVICE["spec"]["ports"][0]["targetPort"]
    assert "8000/health" in DOCKERFILE


def test_it_has_no_right_that_it_does_not_need() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[-1] == "10001:10001"
    assert (COMPOSED["read_only"], COMPOSED["cap_drop"]) == (True, ["ALL"])
    assert (POD["securityContext"]["runAsNonRoot"], POD["automountServiceAccountToken"]) == (True, False)
    rights = CONTAINER["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert (rights["allowPrivilegeEscalation"], rights["capabilities"]) == (False, {"drop": ["ALL"]})
    assert (POLICY["spec"]["policyTypes"], POLICY["spec"]["egress"]) == (["Ingress", "Egress"], [])


def test_what_is_mounted_is_there_and_kept_readable() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in CONTAINER["volumeMounts"]}
    assert set(mounted) == {"/tmp", "/keys"}
    assert mounted["/keys"]["secret"]["defaultMode"] == 0o440  # read as octal, not as four hundred and forty
    assert SERVICE["spec"]["selector"] == POLICY["spec"]["podSelector"]["matchLabels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == DEPLOYMENT["spec"]["template"]["metadata"]["labels"]


def test_the_image_is_made_of_files_and_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"--extra (\w+)", DOCKERFILE)) == {"serve"} <= set(project["optional-dependencies"])
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)
    assert CONTAINER["image"] == f"facetell:{project['version']}"


def test_the_store_of_compose_is_the_one_that_the_server_is_given() -> None:
    facetell, store = STORED["services"]["facetell"], STORED["services"]["store"]
    words = facetell["command"]
    assert words[: len(started())] == started(), "the same but for the store"
    (address,) = [word for word in words if word.startswith("postgresql://")]
    assert address == f"postgresql://{store['environment']['POSTGRES_USER']}@store/facetell", "no password in it"
    assert facetell["depends_on"] == {"store": {"condition": "service_healthy"}}
    assert set(store["secrets"]) == set(STORED["secrets"])
    assert {volume.partition(":")[0] for volume in store["volumes"]} == set(STORED["volumes"])
