"""Mutants of the kernel: each breaks one rule in C, and the comparison must notice."""

from __future__ import annotations

import pathlib
from typing import Final

import msgspec
import pytest

from bidplane_streams.fast.native import Kernel, KernelBroken
from bidplane_streams.market import clearing as pure
from clearing_instances import corpus
from fast_kernels import answer, compiled
from fast_windows import windows

# The second line is there for bids that name two shapes in one pool: few windows show that fault.
CORPUS: Final = [
    *corpus(60, sizes=(30, 80, 150), seed=3), *windows(8, most=240, seed=1),
    *windows(6, most=300, seed=505), *windows(6, most=300, seed=509),
]  # fmt: skip
EXPECTED: Final = [msgspec.json.encode(pure.clear(instance)) for instance in CORPUS]

# Which rule is broken: the file, what stands there, what the mutant has instead.
MUTANTS: Final = {
    "a tie always won": ("replay.h", "return ahead ? tied : above;", "return tied;"),
    "a tie always lost": ("replay.h", "return ahead ? tied : above;", "return above;"),
    "ties by arrival": (
        "order.h",
        "if (a->first != b->first) return a->first < b->first ? -1 : 1;",
        "if (a->entry.row != b->entry.row) return a->entry.row < b->entry.row ? -1 : 1;",
    ),
    "a closing missed by a replay": (
        "replay.h",
        "for (int32_t shape = 0; shape < SHAPES; shape++) {\n        int32_t known",
        "for (int32_t shape = 1; shape < SHAPES; shape++) {\n        int32_t known",
    ),
    "a closing missed by the scan": (
        "replay.h",
        "pool->closed_at[shape] = position;",
        "if (shape != 7) pool->closed_at[shape] = position;",
    ),
    "another shape's closing missed": (
        "replay.h",
        "if (group->first != NONE && group->others) note_others(x, group, position);",
        "(void)group;",
    ),
    "another shape's closing too early": (
        "replay.h",
        "if (!group->room[shape]) group->closed_at[shape] = position;",
        "group->closed_at[shape] = position;",
    ),
    "a replay that starts late": (
        "replay.h",
        "if (ok) replay(x, position);",
        "if (ok) replay(x, position + 1);",
    ),
    "a replay that keeps the winner": (
        "replay.h",
        "take_back(&stock->taken, group->shape, group->level);",
        "(void)stock;",
    ),
    "a group that is never checked again": (
        "replay.h",
        "if (group->first == NONE) pool->joined++;",
        "if (!pool->joined) pool->joined++;",
    ),
    "a partial level that settles nobody": (
        "clear.c",
        "if (pays && level < class->high && pool->waiting",
        "if (pays && !level && pool->waiting",
    ),
    "a boost kept": (
        "replay.h",
        "weight) - w->boost[row];\n    Cost above",
        "weight);\n    Cost above",
    ),
    "tiers ignored by prices": (
        "replay.h",
        "return w->tier[row] < w->tier[other->row] ? reserve : NEVER;",
        ";",
    ),
    "every level at the first one's price": (
        "replay.h",
        "closer = closer_of(x, group, winner, pool, shape, level);\n            paid",
        "paid",
    ),
    "rounded down": ("replay.h", "(product + (((u128)1 << KEY_BITS) - 1))", "(product)"),
    "slices by volume": (
        "rooms.h",
        "int64_t threes = least(right, least(pairs, slots / 3));",
        "int64_t threes = slots / 3;",
    ),
    "larger blocks ignored": (
        "rooms.h",
        "free2 = least(free1, capacity[1] - twos)",
        "free2 = free1",
    ),
    "a key off by one": (
        "clear.c",
        "entries[count++] = (Entry){key,",
        "entries[count++] = (Entry){key | 1,",
    ),
}


def disagreements(kernel: Kernel) -> int:
    """How many windows it clears wrongly, or stops at as broken, up to the first."""
    for instance, expected in zip(CORPUS, EXPECTED, strict=True):
        try:
            if answer(kernel, instance) != expected:
                return 1
        except (KernelBroken, AssertionError):
            return 1
    return 0


def test_unmutated_kernel_agrees(tmp_path: pathlib.Path) -> None:
    """Without a mutant the corpus shows no difference, so what kills a mutant is the mutant."""
    assert disagreements(compiled(tmp_path)) == 0


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_die(mutant: tuple[str, str, str], tmp_path: pathlib.Path) -> None:
    """A kernel with one rule broken is noticed."""
    assert disagreements(compiled(tmp_path, *mutant))
