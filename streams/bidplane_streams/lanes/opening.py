"""Where a partition goes on: the rules between the changelog's vector and the group's offsets.

Decides from three numbers per topic: applied (vector), committed (group), first (start of the log).
Refuses to guess: what cannot have come from this lane's own transactions stops the process.
"""

from __future__ import annotations

from bidplane_streams.errors import OffsetsConflict, RecordsMissing


def start(topic: str, applied: int | None, committed: int | None, first: int) -> int:
    """The offset to read first.

    Raises:
        OffsetsConflict: something that is not this lane has committed, or state was lost.
        RecordsMissing: the log begins after what was applied.
    """
    if applied is None:
        if committed is not None:
            raise OffsetsConflict(
                f"{topic}: the group has committed {committed} but the changelog has no vector"
            )
        return first
    if committed is not None and committed != applied:
        raise OffsetsConflict(
            f"{topic}: the changelog has applied {applied}, the group has committed {committed}"
        )
    # Without committed offsets (they expire after a week of silence) the vector is the truth.
    if first > applied:
        raise RecordsMissing(f"{topic}: applied up to {applied}, but the log begins at {first}")
    return applied
