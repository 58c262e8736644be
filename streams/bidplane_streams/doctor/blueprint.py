"""The blueprint: which versions are meant to run together (helm/blueprints/*.yaml).

Decides the file's form. Refuses to look at a cluster.
"""

from __future__ import annotations

import pathlib

import msgspec
import yaml

from bidplane_agents.errors import BadInput


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Minor versions as text: "1.36"."""

    minimum: str
    pinned: str
    ran_here: bool
    source: str


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group and version that must be served, and why."""

    path: str
    why: str


class Kafka(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker. No client can ask it for its version: told, not checked."""

    version: str
    ran_here: bool
    source: str


class Component(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What others make. ``workloads``: values of app.kubernetes.io/name, or names of charts."""

    name: str
    workloads: tuple[str, ...]
    version: str
    ran_here: bool
    source: str
    required: bool = False
    runtime_classes: tuple[str, ...] = ()


class Blueprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file; ``blueprint`` is its own version."""

    blueprint: str
    kubernetes: Kubernetes
    apis: tuple[Api, ...]
    kafka: Kafka
    components: tuple[Component, ...]


def load(path: pathlib.Path) -> Blueprint:
    """Read a blueprint.

    Raises:
        BadInput: there is no such file, or it is no blueprint; says which field.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(raw, Blueprint)
    except OSError as error:
        raise BadInput(f"--blueprint {path}: {error.strerror}: name a blueprint file") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"--blueprint {path}: {said}: see helm/blueprints") from error
