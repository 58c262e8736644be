"""A sink in a pod: whose rights it has, and what it says where it is none."""

from __future__ import annotations

import datetime as dt
import pathlib

import pytest
from kubernetes_asyncio.config import incluster_config

from bidplane_streams.embedded import certs
from bidplane_streams.sinks import errors, hostsetup, kube


@pytest.fixture
def account(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The mounted ServiceAccount of a pod whose API server is at api.example:6443."""
    certs.Authority(tmp_path, "host").server("apiserver")
    (tmp_path / "token").write_text("first")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "api.example")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setenv("BIDPLANE_SERVICE_ACCOUNT_DIR", str(tmp_path))
    return tmp_path


async def test_a_pod_s_renewed_token_is_used(
    account: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kubeconfig the pod's own token counts, and the one that follows it after it."""
    monkeypatch.setattr(incluster_config, "TOKEN_REFRESH_PERIOD", dt.timedelta())
    api = await kube.connect("")
    try:
        assert api.where == "https://api.example:6443"
        settings = api._api.configuration
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer first"
        (account / "token").write_text("second")
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer second"
    finally:
        await api.close()


async def test_outside_of_a_pod_a_kubeconfig_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says that there is neither a kubeconfig nor a pod, and what to give."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.BadSetting, match=r"this is no pod.*give a file.*--kubeconfig"):
        await kube.connect("")


async def test_a_pod_without_a_token_is_told_so(account: pathlib.Path) -> None:
    """A pod whose token is not mounted cannot speak to the API server."""
    (account / "token").unlink()
    with pytest.raises(errors.BadSetting, match="token file does not exist"):
        await kube.connect("")


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"spec": {"rules": [{"a": 1, "default": 2}], "more": []}}, True),
        ({"spec": {"rules": [{"a": 1}]}, "status": {}}, True),
        ({"spec": {"rules": [{"a": 2}]}}, False),
        ({"spec": {"rules": [{"a": 1}, {"b": 1}]}}, False),
        ({"spec": {}}, False),
        (None, False),
    ],
)
def test_an_object_stands_if_it_says_all_that_is_wanted(found: object, *, same: bool) -> None:
    """The server's defaults may stand besides; a list is as it is wanted or it is not."""
    assert hostsetup.stands(found, {"spec": {"rules": [{"a": 1}], "variables": []}}) is same
