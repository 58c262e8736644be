"""Who an agent is on this machine: a file with its name, partition and secret key.

Decides where profiles live and which one is meant. Refuses to know Kafka.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bidplane_agents import connection, errors
from bidplane_agents.errors import ProfileUnusable
from bidplane_topics import codec, envelope, ids
from bidplane_topics import errors as contract
from bidplane_topics.event import Count
from bidplane_topics.ids import Name

FILE_MODE: Final = 0o600


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's identity. ``key`` is the secret seed in base64; ``partition`` is its tenant's."""

    tenant: Name
    agent: Name
    partition: Count
    key: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Profile({self.id}, partition={self.partition})"

    @property
    def id(self) -> str:
        """tenant/name."""
        return ids.agent_id(self.tenant, self.agent)

    def signing_key(self) -> envelope.SigningKey:
        """The key that signs.

        Raises:
            ProfileUnusable: the profile holds no key.
        """
        try:
            return envelope.SigningKey.from_text(self.key)
        except contract.SignatureRefused as error:
            raise ProfileUnusable(f"profile of {self.id}, field key: {error}") from error


def folder(directory: str = "") -> Path:
    """Where profiles of this machine are kept."""
    return Path(connection.working_directory(directory)) / "agents"


def path_of(agent_id: str, directory: str = "") -> Path:
    """The profile file of TENANT/NAME.

    Raises:
        ContractError: it is no TENANT/NAME.
    """
    tenant, name = ids.split_agent(agent_id)
    return folder(directory) / tenant / f"{name}.json"


def find(agent: str = "", directory: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """The profile file that is meant: ``agent``, BIDPLANE_PROFILE, BIDPLANE_AGENT, or the only one.

    Raises:
        ProfileUnusable: none is named and there is not exactly one.
    """
    if agent:
        return path_of(agent, directory)
    if named := environ.get("BIDPLANE_PROFILE", ""):
        return Path(named)
    if agent := environ.get("BIDPLANE_AGENT", ""):
        return path_of(agent, directory)
    home = folder(directory)
    found = sorted(home.glob("*/*.json"))
    if len(found) == 1:
        return found[0]
    how = "give --agent TENANT/NAME, or set BIDPLANE_AGENT or BIDPLANE_PROFILE"
    raise ProfileUnusable(f"{len(found)} agent profiles in {home}: {how}")


def load(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileUnusable: the file is missing, broken, or readable by others.
    """
    try:
        raw, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise ProfileUnusable(
            f"no agent profile {path} ({error.strerror}): {_near(path)}make one with "
            "`bidplane agent register`"
        ) from error
    if mode & 0o077:
        raise ProfileUnusable(f"{path} holds a secret key but others may read it: chmod 600 {path}")
    try:
        profile = msgspec.json.decode(raw, type=Profile)
    except msgspec.DecodeError as error:
        raise ProfileUnusable(f"{path} is no agent profile: {error}") from error
    profile.signing_key()
    return profile


def _near(path: Path) -> str:
    """The agent that was meant, if a profile in the same folder has nearly its name."""
    known = [f"{one.parent.name}/{one.stem}" for one in path.parent.parent.glob("*/*.json")]
    return errors.meant(f"{path.parent.name}/{path.stem}", known)


def save(path: Path, profile: Profile) -> None:
    """Write a profile so that only its owner ever could read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(codec.pretty(profile) + "\n")
    draft.replace(path)
