"""Certificates speak for whom they name, live in private files, and are renewed in time."""

import pathlib
import stat

import pytest
from cryptography import x509

from bidplane_streams.embedded import certs


def test_an_authority_is_kept(tmp_path: pathlib.Path) -> None:
    """A second start uses the first one's authority, so old credentials stay good."""
    certs.Authority(tmp_path, "plane")
    before = (tmp_path / "ca.crt").read_bytes()
    certs.Authority(tmp_path, "plane")
    assert (tmp_path / "ca.crt").read_bytes() == before


def test_a_kubeconfig_is_private_and_speaks_for_its_user(tmp_path: pathlib.Path) -> None:
    """The certificate names the user and the groups; only the owner may read the file."""
    authority = certs.Authority(tmp_path, "plane")
    authority.client("alice", "alice", ("team-a",))
    place = authority.kubeconfig("alice", "https://127.0.0.1:1", tmp_path / "kubeconfig")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate((tmp_path / "alice.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=alice,O=team-a"


def test_other_groups_make_another_certificate(tmp_path: pathlib.Path) -> None:
    """A user who changes groups gets a certificate that says so."""
    authority = certs.Authority(tmp_path, "plane")
    authority.client("alice", "alice", ("one",))
    before = (tmp_path / "alice.crt").read_bytes()
    authority.client("alice", "alice", ("one",))
    assert (tmp_path / "alice.crt").read_bytes() == before
    authority.client("alice", "alice", ("two",))
    assert (tmp_path / "alice.crt").read_bytes() != before


def test_a_certificate_past_two_thirds_of_its_life_is_renewed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate whose time is nearly over is replaced on the next start."""
    authority = certs.Authority(tmp_path, "plane")
    monkeypatch.setattr(certs, "LEAF_DAYS", 0)  # valid from an hour ago until now
    authority.server("apiserver")
    before = (tmp_path / "apiserver.crt").read_bytes()
    authority.server("apiserver")
    assert (tmp_path / "apiserver.crt").read_bytes() != before
