"""The chart: helm, its unit tests and real schemas accept it, and it fits the programs it runs."""

import itertools
import pathlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import typer.main
import yaml

import chart_files
import chart_tools
from bidplane_agents import cli
from bidplane_streams.sinks import cluster_rights, device_classes, hostsetup, names
from helm import image_requirements, rendered

SCHEMAS = pathlib.Path(__file__).parent / "schemas"
PREVIOUS = pathlib.Path(__file__).parent / "previous" / "bidplane-0.1.0.tgz"
BY_NAME = {path.stem: path for path in rendered.EXAMPLES}
every_example = pytest.mark.parametrize("name", BY_NAME)
Object = dict[str, Any]


@every_example
def test_helm_has_no_complaint(name: str) -> None:
    """`helm lint --strict` passes with every example's values."""
    ran = chart_tools.run("helm", "lint", "--strict", rendered.CHART, "-f", BY_NAME[name])
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_chart_s_own_tests_pass() -> None:
    """All suites of helm/bidplane/tests pass."""
    ran = chart_tools.run("helm-unittest", "--color=false", rendered.CHART)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"Test Suites: [1-9]\d* passed", ran.stdout), ran.stdout


@every_example
def test_every_object_has_the_fields_of_its_kind(name: str) -> None:
    """No object has a field that the API server, or the other project's kind, does not know."""
    location = f"{SCHEMAS}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    ran = chart_tools.run(
        "kubeconform", "-strict", "-summary", "-schema-location", location, "-",
        stdin=rendered.text(BY_NAME[name]),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "Valid: 0" not in ran.stdout, ran.stdout


def test_a_field_that_no_kind_has_is_refused() -> None:
    """The schemas refuse a misspelled field: they are strict."""
    location = f"{SCHEMAS}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    text = rendered.text(BY_NAME["dev"]).replace("readinessProbe:", "readynessProbe:", 1)
    ran = chart_tools.run("kubeconform", "-strict", "-schema-location", location, "-", stdin=text)
    assert ran.returncode == 1
    assert "readynessProbe" in ran.stdout


def test_the_chart_s_files_say_what_the_code_says() -> None:
    """Topics and host objects in helm/bidplane/files are as `tests/chart_files.py` writes them."""
    for name, text in chart_files.written().items():
        assert (chart_files.HOME / name).read_text() == text, name


@every_example
def test_commands_are_ones_that_the_program_knows(name: str) -> None:
    """The command line accepts the arguments of every container."""
    root = typer.main.get_command(cli.build())
    for _, template in rendered.pods(rendered.objects(BY_NAME[name])):
        for one in rendered.containers(template):
            assert one["command"] == ["bidplane"]
            _parse(root, list(one["args"]))


def _parse(command: Any, words: list[str]) -> None:
    """As the command line would, without running it."""
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context(command.name, words):
        pass


def test_rules_of_a_market_are_options_of_market_create() -> None:
    """Each key that `markets[].rules` may have is an option of `bidplane market create`."""
    root: Any = typer.main.get_command(cli.build())
    create = root.commands["market"].commands["create"]
    known = {word for one in create.params for word in one.opts}
    schema = yaml.safe_load((rendered.CHART / "values.schema.json").read_text())
    rules = schema["properties"]["markets"]["items"]["properties"]["rules"]["properties"]
    options = {"--" + re.sub("([A-Z])", r"-\1", key).lower() for key in rules}
    assert options <= known


@every_example
def test_settings_are_ones_that_the_programs_read(name: str) -> None:
    """Every BIDPLANE_ variable that a container gets is named in the sources."""
    folders = (rendered.ROOT / one for one in ("agents", "streams"))
    sources = "".join(path.read_text() for one in folders for path in one.rglob("*.py"))
    for where, template in rendered.pods(rendered.objects(BY_NAME[name])):
        for one in rendered.containers(template):
            for row in one["env"]:
                if row["name"].startswith("BIDPLANE_"):
                    assert f'"{row["name"]}"' in sources, f"{where}: {row['name']}"


@every_example
def test_no_container_may_more_than_it_needs(name: str) -> None:
    """Every container runs as nobody, on a root that it cannot write, with bounded memory."""
    for where, template in rendered.pods(rendered.objects(BY_NAME[name])):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        for one in rendered.containers(template):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where  # fmt: skip
            assert one["resources"]["limits"]["memory"], where


@every_example
def test_a_token_is_mounted_where_rights_are_bound(name: str) -> None:
    """A pod has its account's token if and only if some role is bound to that account."""
    found = rendered.objects(BY_NAME[name])
    bound = {
        subject["name"] for one in found if one["kind"].endswith("RoleBinding")
        for subject in one["subjects"]
    }  # fmt: skip
    for where, template in rendered.pods(found):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] == (spec["serviceAccountName"] in bound), where


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"dev"}))
def test_every_pod_has_one_network_policy(name: str) -> None:
    """The labels of each pod are chosen by exactly one NetworkPolicy."""
    found = rendered.objects(BY_NAME[name])
    policies = [one["spec"]["podSelector"] for one in found if one["kind"] == "NetworkPolicy"]
    for where, template in rendered.pods(found):
        labels = template["metadata"]["labels"].items()
        assert [one["matchLabels"].items() <= labels for one in policies].count(True) == 1, where


def test_agents_pods_are_known_by_the_mark_that_the_sink_sets() -> None:
    """Where nobody is named for metrics, namespaces with the claims sink's label are left out."""
    found = rendered.objects(BY_NAME["two-markets"])
    rules = [
        rule for one in found if one["kind"] == "NetworkPolicy" for rule in one["spec"]["ingress"]
    ]
    assert len(rules) >= 3
    mark = {"key": names.TENANT, "operator": "DoesNotExist"}
    for rule in rules:
        (peer,) = rule["from"]
        assert mark in peer["namespaceSelector"]["matchExpressions"]


@every_example
def test_the_admission_policies_are_the_sink_s_own(name: str) -> None:
    """The claims sink finds kind and policies as it needs them, and writes none of them."""
    found = rendered.objects(BY_NAME[name])
    values = yaml.safe_load(BY_NAME[name].read_text())
    further = {one["driver"]: one["class"] for one in values.get("deviceClasses", ())}
    user = f"system:serviceaccount:{rendered.SPACE}:bidplane-sink-claims"
    wanted = [hostsetup.device_lease_kind()]
    for policy in hostsetup.policies(user, device_classes.sold(further)):
        wanted += [policy, hostsetup.binding(policy["metadata"]["name"])]
    there = {(one["kind"], one["metadata"]["name"]): one for one in found}
    for one in wanted:
        assert hostsetup.stands(there[one["kind"], one["metadata"]["name"]], one)


def test_rights_are_what_the_processes_need() -> None:
    """Cluster-wide, each component may do what `cluster_rights` says that it does, and no more."""
    roles = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["rules"]
        for one in rendered.objects(BY_NAME["production"])
        if one["kind"] == "ClusterRole"
    }
    wanted = {name: set(_needed(rows)) for name, rows in cluster_rights.NEEDS.items()}
    wanted["sink-claims"] |= {
        ("resource.k8s.io", "deviceclasses", "create"),  # those that no driver brought
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
    }
    assert {name: set(_granted(rules)) for name, rules in roles.items()} == wanted


def _needed(rows: Iterable[cluster_rights.Need]) -> Iterator[tuple[str, str, str]]:
    return ((one.group, one.name, verb) for one in rows for verb in one.verbs)


def _granted(rules: list[Object]) -> Iterator[tuple[str, str, str]]:
    """What is granted on all names."""
    for rule in rules:
        if "resourceNames" not in rule:
            yield from itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])


def test_what_the_chart_keeps_its_sink_may_only_read() -> None:
    """Kind and policies are named one by one, to be read; with `hostSetup.by=sink`, to be made."""
    for more, verbs in (
        ((), {"get"}),
        (("--set", "hostSetup.by=sink"), {"get", "create", "patch"}),
    ):
        rules = [
            rule for one in rendered.objects(BY_NAME["production"], *more)
            if one["kind"] == "ClusterRole" for rule in one["rules"] if "resourceNames" in rule
        ]  # fmt: skip
        assert {name for rule in rules for name in rule["resources"]} == {
            "customresourcedefinitions", "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        }  # fmt: skip
        assert all(set(rule["verbs"]) == verbs for rule in rules)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("worker.replica=3",), "at '/worker': additional properties 'replica' not allowed"),
        (("kafka.protocol=TLS",), "at '/kafka/protocol': value must be one of 'PLAINTEXT'"),
        (("kafka.bootstrap=kafka",), "at '/kafka/bootstrap': 'kafka' does not match"),
        (("markets[0].name=Pool",), "at '/markets/0/name': 'Pool' does not match"),
        (("markets[0].name=a", "markets[0].rules.windw=2s"), "additional properties 'windw'"),
        (("markets[0].name=a", "markets[0].rules.window=2"), "at '/markets/0/rules/window'"),
        (("worker.port=70000",), "at '/worker/port': maximum: got 70,000, want 65,535"),
        (("strimzi.topics=true",), "at '/strimzi/cluster': minLength: got 0, want 1"),
        (("strimzi.users=true", "strimzi.cluster=c"), "at '/kafka/protocol': value must be one"),
        (
            ("sinkClaims.serviceAccount.create=false",),
            "at '/sinkClaims/serviceAccount/name': minLen",
        ),
        (("autoscaling.by=hpa",), "at '/autoscaling/by': value must be one of 'none', 'cpu'"),
    ],
)
def test_a_wrong_value_is_told_where_it_stands(settings: tuple[str, ...], words: str) -> None:
    """Values that cannot be used are refused before anything is made, by path and reason."""
    assert words in rendered.complaint(*settings)


def test_values_of_parents_are_taken() -> None:
    """`global` values, which a parent chart hands to all of its charts, are no mistake."""
    assert rendered.complaint("global.anything=1") == ""


def test_other_values_make_another_job() -> None:
    """The setup job, which cannot be changed, has another name when it does something else."""
    names = {
        one["metadata"]["name"]
        for more in ((), ("--set", "topics.tenantPartitions=5"), ("--set", "image.tag=other"))
        for one in rendered.objects(BY_NAME["dev"], *more)
        if one["kind"] == "Job"
    }
    assert len(names) == 3


@every_example
def test_an_upgrade_changes_nothing_that_cannot_change(name: str) -> None:
    """From the previous chart to this one, no field changes that the API server keeps for ever."""
    # A value that is younger than the previous chart is nothing to it.
    words = (BY_NAME[name], "--skip-schema-validation")
    before = {_key(one): one for one in rendered.objects(*words, chart=PREVIOUS)}
    now = {_key(one): one for one in rendered.objects(BY_NAME[name])}
    kept = before.keys() & now.keys()
    assert len(kept) >= 0.9 * len(before)
    for key in kept:
        assert _immutable(before[key]) == _immutable(now[key]), key


def _key(one: Object) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _immutable(one: Object) -> Any:
    spec = one.get("spec", {})
    fields = {
        "Deployment": ("selector",),
        "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
        "Job": ("template",),
        "Service": ("clusterIP",),
        "CustomResourceDefinition": ("group", "scope", "names"),
    }
    return one.get("roleRef"), [spec.get(field) for field in fields.get(one["kind"], ())]


def test_every_value_is_explained() -> None:
    """README.md has one row for each value of values.yaml, and none for another."""
    text = (rendered.CHART / "README.md").read_text().partition("## Values")[2]
    rows = re.findall(r"^\| `([\w.\[\]]+)` \|", text, re.MULTILINE)
    values = yaml.safe_load((rendered.CHART / "values.yaml").read_text())
    assert len(rows) == len(set(rows))
    missing = {path for path in _leaves(values, "") if not _explained(path, set(rows))}
    assert missing == set()
    surplus = {row for row in rows if "[" not in row and not _there(values, row)}
    assert surplus == set()


def _leaves(values: Object, prefix: str) -> set[str]:
    found = set()
    for key, value in values.items():
        path = f"{prefix}{key}"
        found |= _leaves(value, f"{path}.") if isinstance(value, dict) and value else {path}
    return found


def _explained(path: str, rows: set[str]) -> bool:
    """By its own row or by that of what it lies in; components share the rows of `worker`."""
    parts = path.split(".")
    if parts[0] in {
        "sinkClaims", "sinkNodes", "sinkClusters", "sourceInventory", "setup", "auditor",
    }:  # fmt: skip
        same = ".".join(("worker", *parts[1:]))
        return path in rows or (parts[0] in rows and _explained(same, rows))
    return any(".".join(parts[:count]) in rows for count in range(1, len(parts) + 1))


def _there(values: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(values, dict) or part not in values:
            return path.startswith("worker.")  # what a component may have is listed there
        values = values[part]
    return True


def test_the_chart_is_of_this_version() -> None:
    """The chart's appVersion, which names the image's tag, is the project's version."""
    chart = yaml.safe_load((rendered.CHART / "Chart.yaml").read_text())
    project = tomllib.loads((rendered.ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


def test_the_image_installs_what_its_processes_need() -> None:
    """helm/requirements.txt holds the closure of worker and sinks, as requirements.txt pins it."""
    assert image_requirements.TARGET.read_text() == image_requirements.wanted()


def test_the_image_is_made_of_what_is_there() -> None:
    """Every path that the Containerfile copies from the repository exists."""
    lines = (rendered.ROOT / "helm" / "Containerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    paths = [path for words in copied if not words[0].startswith("--") for path in words]
    assert len(paths) >= 8
    assert [path for path in paths if not (rendered.ROOT / path).exists()] == []
