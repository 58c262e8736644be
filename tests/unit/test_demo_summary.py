"""The tables of a demo's report."""

from __future__ import annotations

from bidplane_loadtest import summary

A = "nvidia-a100-sxm4-80gb-80gi-ampere-rack-00-da29d4"


def test_long_pool_names_are_cut_in_the_middle_and_stay_apart() -> None:
    """What tells pools apart is at their ends."""
    shown = summary.short_names([A, A.replace("rack-00-da29d4", "rack-01-3caa1c"), "short"])
    assert shown[A] == "nvidia-a100…rack-00-da29d4"
    assert shown["short"] == "short"
    assert len(set(shown.values())) == 3
    assert max(map(len, shown.values())) <= summary.NAME_WIDTH


def test_names_that_would_look_alike_stay_whole() -> None:
    """No table shows one name for two pools."""
    alike = ["a" * 20 + middle + "z" * 20 for middle in "xy"]
    assert summary.short_names(alike) == {name: name for name in alike}
