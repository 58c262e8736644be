"""Who an agent is on this machine: profiles, sequences, addresses."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from bidplane_agents import connection, profiles, sequence
from bidplane_agents.errors import BadInput, ProfileUnusable

PROFILE = profiles.Profile(tenant="t", agent="a", partition=1, key="A" * 43 + "=")


def test_a_profile_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """It holds the secret key, so it is written closed and refused open."""
    path = profiles.path_of("t/a", str(tmp_path))
    profiles.save(path, PROFILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert profiles.load(path) == PROFILE
    path.chmod(0o644)
    with pytest.raises(ProfileUnusable, match="chmod 600"):
        profiles.load(path)


def test_a_profile_that_is_not_there_is_answered_with_one_that_is_near(tmp_path: Path) -> None:
    """A slip in an agent's name is told from an agent that nobody registered."""
    profiles.save(profiles.path_of("lab/tuner", str(tmp_path)), PROFILE)
    with pytest.raises(ProfileUnusable, match=r"did you mean 'lab/tuner'\? make one"):
        profiles.load(profiles.path_of("lab/tunr", str(tmp_path)))
    with pytest.raises(ProfileUnusable, match=r"directory\): make one with"):
        profiles.load(profiles.path_of("other/agent", str(tmp_path)))


def test_a_profile_never_shows_its_key() -> None:
    """Neither in a log nor in a traceback."""
    assert "AAAA" not in repr(PROFILE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no agent profile"),
        ('{"tenant":"t","agent":"a","partition":-1,"key":""}', "partition"),
        ('{"tenant":"t","agent":"a","partition":1,"key":"short"}', "field key"),
    ],
)
def test_a_broken_profile_is_named_with_its_field(tmp_path: Path, text: str, said: str) -> None:
    """A profile is read whole or not at all."""
    path = tmp_path / "a.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ProfileUnusable, match=said):
        profiles.load(path)


def test_a_missing_profile_says_how_to_make_one(tmp_path: Path) -> None:
    """The next step is in the sentence."""
    with pytest.raises(ProfileUnusable, match="agent register"):
        profiles.load(tmp_path / "none.json")


def test_the_profile_that_is_meant_is_found(tmp_path: Path) -> None:
    """By argument, then BIDPLANE_PROFILE, then BIDPLANE_AGENT, then the only one there is."""
    home = str(tmp_path)
    with pytest.raises(ProfileUnusable, match="0 agent profiles"):
        profiles.find("", home, {})
    first = profiles.path_of("t/a", home)
    profiles.save(first, PROFILE)
    assert profiles.find("", home, {}) == first
    profiles.save(profiles.path_of("t/b", home), PROFILE)
    with pytest.raises(ProfileUnusable, match="2 agent profiles"):
        profiles.find("", home, {})
    assert profiles.find("", home, {"BIDPLANE_AGENT": "t/b"}).name == "b.json"
    named = {"BIDPLANE_AGENT": "t/b", "BIDPLANE_PROFILE": "elsewhere.json"}
    assert profiles.find("", home, named) == Path("elsewhere.json")
    assert profiles.find("t/a", home, named) == first


def test_a_sequence_grows_whatever_the_clock_does(tmp_path: Path) -> None:
    """Across instances too, with a clock that stands still or jumps back."""
    path = tmp_path / "a.json"
    found = [sequence.beside(path).next(now_ms) for now_ms in (1000, 1000, 5, 2000)]
    memory = sequence.Sequence()
    memory.raise_to(3000)
    assert found == [1000, 1001, 1002, 2000]
    assert memory.next(10) == 3001


def test_a_lost_sequence_file_is_covered_by_the_clock(tmp_path: Path) -> None:
    """Whatever was used before now is below now."""
    path = tmp_path / "a.json"
    used = sequence.beside(path).next(1000)
    path.with_suffix(".sequence").unlink()
    assert sequence.beside(path).next(1001) > used
    path.with_suffix(".sequence").write_text("nonsense")
    assert sequence.beside(path).next(1002) == 1002


def test_a_shared_sequence_never_repeats(tmp_path: Path) -> None:
    """Several holders of one file are given different numbers."""
    path, found = tmp_path / "a.json", list[int]()

    def take() -> None:
        own = sequence.beside(path)
        found.extend(own.next(7) for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(7, 207))


def test_kafkas_address_is_argument_environment_or_state(tmp_path: Path) -> None:
    """In this order; without any, the sentence names all three."""
    home = str(tmp_path)
    with pytest.raises(BadInput, match="bidplane up"):
        connection.from_environment("", home, {})
    (tmp_path / "state.json").write_text('{"kafka": "127.0.0.1:3"}')
    environ = {"BIDPLANE_KAFKA": "127.0.0.1:2"}
    assert connection.from_environment("127.0.0.1:1", home, environ).bootstrap == "127.0.0.1:1"
    assert connection.from_environment("", home, environ).bootstrap == "127.0.0.1:2"
    assert connection.from_environment("", home, {}).bootstrap == "127.0.0.1:3"
    for wrong in ("nonsense", "host:", ":9", "host:port", "a:1,b"):
        with pytest.raises(BadInput, match="HOST:PORT"):
            connection.from_environment(wrong, home, {})


def test_secrets_of_kafka_come_from_files(tmp_path: Path) -> None:
    """SASL passes through to the client; its password is never an argument."""
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    environ = {
        "BIDPLANE_KAFKA": "127.0.0.1:2",
        "BIDPLANE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "BIDPLANE_KAFKA_SASL_USERNAME": "alice",
        "BIDPLANE_KAFKA_SASL_PASSWORD_FILE": str(secret),
    }
    options = connection.from_environment("", "", environ).options
    assert options["sasl_plain_password"] == "hush"
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    with pytest.raises(BadInput, match="PASSWORD_FILE"):
        connection.from_environment(
            "", "", {**environ, "BIDPLANE_KAFKA_SASL_PASSWORD_FILE": "/none"}
        )
    tls = {**environ, "BIDPLANE_KAFKA_SECURITY_PROTOCOL": "SSL", "BIDPLANE_KAFKA_CA_FILE": "/none"}
    with pytest.raises(BadInput, match="TLS"):
        connection.from_environment("", "", tls)
