"""How processes are told to speak to Kafka: what cannot be used is said before they start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bidplane_agents import cli, connection, errors
from bidplane_streams.processors import broker_credentials

PROCESSES = (
    ("worker",),
    ("sink", "claims", "--kafka", "127.0.0.1:1"),
    ("sink", "clusters", "--kafka", "127.0.0.1:1"),
    ("sink", "nodes", "--kafka", "127.0.0.1:1"),
    ("source", "inventory", "--kafka", "127.0.0.1:1"),
    ("audit", "--kafka", "127.0.0.1:1"),
    ("agent", "list", "--kafka", "127.0.0.1:1"),
)
KAFKA = "BIDPLANE_KAFKA_"


def _code(words: tuple[str, ...]) -> int:
    try:
        return cli.run(list(words))
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.mark.parametrize("words", PROCESSES, ids=lambda words: "-".join(words[:2]))
def test_a_setting_that_is_none_ends_every_process_with_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the setting's name and what it may be."""
    monkeypatch.setenv(KAFKA + "SECURITY_PROTOCOL", "SASL")
    assert _code(words) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "BIDPLANE_KAFKA_SECURITY_PROTOCOL='SASL'" in said
    assert "SASL_SSL" in said


def _no_user(folder: Path) -> dict[str, str]:
    del folder
    return {}


def _no_file(folder: Path) -> dict[str, str]:
    return {"SASL_USERNAME": "a", "SASL_PASSWORD_FILE": str(folder / "none")}


def _no_mechanism(folder: Path) -> dict[str, str]:
    del folder
    return {"SASL_USERNAME": "a", "SASL_MECHANISM": "MD5"}


def _no_certificate(folder: Path) -> dict[str, str]:
    broken = folder / "ca.crt"
    broken.write_text("no certificate")
    return {"CA_FILE": str(broken)}


@pytest.mark.parametrize("wrong", [_no_user, _no_file, _no_mechanism, _no_certificate])
def test_what_is_missing_is_named(wrong: Callable[[Path], dict[str, str]], tmp_path: Path) -> None:
    """A user, a password's file, a mechanism and an authority are each refused by their name."""
    given = wrong(tmp_path)
    environ = {KAFKA + name: value for name, value in given.items()}
    environ[KAFKA + "SECURITY_PROTOCOL"] = "SASL_SSL"
    with pytest.raises(errors.BadInput, match="BIDPLANE_KAFKA_"):
        connection.security(environ)


def test_a_password_is_read_anew_for_each_client(tmp_path: Path) -> None:
    """What a rotation wrote counts for the next client, without the newline at its end."""
    secret = tmp_path / "password"
    environ = {
        KAFKA + "SECURITY_PROTOCOL": "SASL_PLAINTEXT", KAFKA + "SASL_USERNAME": "a",
        KAFKA + "SASL_PASSWORD_FILE": str(secret),
    }  # fmt: skip
    for password in ("first", "second"):
        secret.write_text(password + "\n")
        assert connection.security(environ)["sasl_plain_password"] == password


def test_faust_is_told_the_same(tmp_path: Path) -> None:
    """Its credentials have the user, the mechanism and the protocol of our own clients."""
    secret = tmp_path / "password"
    secret.write_text("p")
    options = connection.security(
        {
            KAFKA + "SECURITY_PROTOCOL": "SASL_SSL", KAFKA + "SASL_USERNAME": "a",
            KAFKA + "SASL_MECHANISM": "SCRAM-SHA-512", KAFKA + "SASL_PASSWORD_FILE": str(secret),
        }
    )  # fmt: skip
    told = broker_credentials.of(options)
    assert (told.protocol.value, told.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (told.username, told.password) == ("a", "p")
    assert broker_credentials.of({}) is None
