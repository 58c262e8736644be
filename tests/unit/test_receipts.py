"""A receipt in a file: what its check says, with which exit code, and which receipt is found."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from bidplane_agents import cli, receipts, samples, view
from bidplane_agents.audit import merkle
from bidplane_agents.commands import showing
from bidplane_agents.errors import BadInput
from bidplane_topics import codec, outcomes, registry
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.receipts import Receipt

GOLDEN = Path(__file__).parents[1] / "golden" / "contract-v1.jsonl"
BID = "research/tuner/56475aa75463474c/41/0"


def golden() -> OutcomeReported:
    """The receipt of the first version, which must be sound for ever."""
    lines = map(
        msgspec.json.Decoder(samples.Sample).decode, GOLDEN.read_bytes().splitlines()
    )  # fmt: skip
    told = [samples.check(one) for one in lines if one.topic == registry.OUTCOMES.name]
    (found,) = [one for one in told if isinstance(one, OutcomeReported) and one.receipt]
    return found


def receipt() -> Receipt:
    """What it says."""
    found = golden().receipt
    assert found is not None
    return found


def kept(folder: Path, given: Receipt | bytes) -> str:
    """A file with a receipt, or with whatever else."""
    file = folder / "receipt.json"
    file.write_bytes(given if isinstance(given, bytes) else codec.encode(given))
    return str(file)


def forged(**orders: Any) -> Receipt:
    """A receipt whose only order says something else, with a root that fits."""
    found = receipt()
    leaf = orjson.loads(found.leaf)
    leaf["orders"][0] |= orders
    return rooted(msgspec.structs.replace(found, leaf=codec.canonical(leaf).decode()))


def rooted(found: Receipt) -> Receipt:
    """The same with the root to which it leads."""
    leaves = orjson.loads(found.round)["leaves"]
    salted = bytes.fromhex(found.salt) + found.leaf.encode()
    path = [bytes.fromhex(one) for one in found.proof]
    tree = merkle.climb(merkle.leaf(salted), found.index, leaves, path)
    assert tree is not None
    root = merkle.node(merkle.leaf(found.round.encode()), tree).hex()
    return msgspec.structs.replace(found, root=root)


def test_a_receipt_of_the_first_version_is_sound_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 and the bids that it covers, with what became of them and what was paid."""
    assert cli.run(["audit", "--receipt", kept(tmp_path, receipt())]) == 0
    said = capsys.readouterr().out
    assert f"{BID}: won shape 2 of h100 for 60 slots, pays 0.0042, value 3.5" in said
    assert "sound: leaf 1 of 2 leads to root" in said
    assert "not compared with the published round" in said


def test_the_verdict_is_there_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the verdict, the round and the orders are fields."""
    assert cli.run(["audit", "--json", "--receipt", kept(tmp_path, receipt())]) == 0
    verdict = orjson.loads(capsys.readouterr().out)
    assert verdict["sound"]
    assert not verdict["compared_with_published_round"]
    assert (verdict["market"], verdict["window"]) == ("pool-a", 7)
    assert verdict["orders"][0]["award"]["price_micros"] == 4200


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"root": "0" * 64}, "lead to the root"),
        ({"salt": "0" * 64}, "lead to the root"),
        ({"index": 1}, "lead to the root"),
        ({"proof": ("0" * 64,)}, "lead to the root"),
        ({"proof": ()}, "a proof of 0 siblings cannot be that of place 0 among 2 leaves"),
        ({"index": 2}, "cannot be that of place 2"),
    ],
)
def test_the_first_thing_that_fails_is_named(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A receipt whose way does not lead to its root exits with 5 and one line."""
    altered = msgspec.structs.replace(receipt(), **change)
    assert cli.run(["audit", "--receipt", kept(tmp_path, altered)]) == 5
    line = capsys.readouterr().out
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ({"bid_id": "other/agent/k/1/0"}, "is not of research/tuner"),
        ({"bid_id": "nonsense"}, "is not of research/tuner"),
        ({"award": None}, "is won, but the award is missing"),
        ({"fate": "lost"}, "is lost, but the award is there"),
        ({"cleared": None}, "won an alternative that it did not have"),
        ({"level_max": 9, "level_min": 2}, "won level 1, outside 2 to 9"),
        ({"value_micros": 4199}, "pays 4200, more than it bid: 4199"),
    ],
)
def test_a_market_that_commits_itself_to_nonsense_is_caught(
    orders: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proof that holds does not excuse a leaf that no honest market could have written."""
    assert cli.run(["audit", "--receipt", kept(tmp_path, forged(**orders))]) == 5
    assert said in capsys.readouterr().out


def test_a_text_with_two_readings_is_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that stands twice is read by some as its first value and by others as its last."""
    found = receipt()
    twice = found.leaf.replace('"fate":"won"', '"fate":"lost","fate":"won"')
    ambiguous = rooted(msgspec.structs.replace(found, leaf=twice))
    assert cli.run(["audit", "--receipt", kept(tmp_path, ambiguous)]) == 5
    assert "the text at `$.leaf` is not canonical JSON" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"nonsense", "this is no receipt"),
        (b"", "this is no receipt"),
        (b"\xff", "this is no receipt"),
        (b"[" * 100_000, "this is no receipt"),
        (codec.encode(receipt()).replace(b'"index":0', b'"index":-1'), "`$.index`"),
        (codec.encode(receipt()).replace(b'"index":0', b'"place":0'), "`index`"),
        (codec.encode(receipt()).replace(b'"salt":"f', b'"salt":"F'), "`$.salt`"),
        (codec.encode(receipt()).replace(b'"proof":["2', b'"proof":["z'), "`$.proof[0]`"),
        (codec.encode(receipt()).replace(b'fate\\":\\"won', b'fate\\":\\"wan'),
         "text at `$.leaf`: `$.orders[0].fate`"),
        (codec.encode(receipt()).replace(b'leaves\\":2', b'leaves\\":x'), "text at `$.round`"),
    ],
)  # fmt: skip
def test_what_is_no_receipt_exits_2_with_its_field(
    raw: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr names the file and, where there is one, the field."""
    file = kept(tmp_path, raw)
    assert cli.run(["audit", "--receipt", file]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert file in err
    assert said in err
    assert err.count("\n") == 1


def test_the_check_needs_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options of the whole audit beside --receipt are refused, and so is a file that is absent."""
    file = kept(tmp_path, receipt())
    assert cli.run(["audit", "--receipt", file, "--load", file]) == 2
    assert "leave --save and --load out" in capsys.readouterr().err
    assert cli.run(["audit", "--receipt", str(tmp_path / "none")]) == 2
    assert "name a file with a receipt" in capsys.readouterr().err


def test_kafka_out_of_reach_exits_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the comparison needs Kafka: an unsound receipt is called so without it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert cli.run(["audit", "--receipt", kept(tmp_path, receipt()), "--kafka", address]) == 4
        assert "Kafka" in capsys.readouterr().err
        unsound = kept(tmp_path, msgspec.structs.replace(receipt(), salt="0" * 64))
        assert cli.run(["audit", "--receipt", unsound, "--kafka", address]) == 5


def test_a_far_future_round_is_still_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closing time beyond every calendar is shown as a number."""
    found = receipt()
    terms = orjson.loads(found.round) | {"closed_at_ms": 2**53 - 1}
    late = rooted(msgspec.structs.replace(found, round=codec.canonical(terms).decode()))
    assert cli.run(["audit", "--receipt", kept(tmp_path, late)]) == 0
    assert f"{2**53 - 1} ms" in capsys.readouterr().out


def told(window: int, market: str = "pool-a") -> OutcomeReported:
    """The receipt's outcome, of another round."""
    return msgspec.structs.replace(
        golden(), outcome_id=f"receipt|{market}|{window}", window=window, market=market,
        receipt=msgspec.structs.replace(receipt(), index=window),
    )  # fmt: skip


def test_the_newest_receipt_of_a_bid_is_found() -> None:
    """A bid that rests is in the receipt of every round; the last one says how it ended."""
    assert receipts.of_bid([told(1), told(2)], BID).index == 2
    with pytest.raises(BadInput, match="no receipt of bid"):
        receipts.of_bid([told(1)], "another")


def test_the_receipt_of_a_round_is_found() -> None:
    """By its window, and by its market where windows of two have the same number."""
    both = [told(1), told(2), told(2, "pool-b")]
    assert receipts.of_round(both, 1).index == 1
    assert receipts.of_round(both, 2, "pool-b").index == 2
    for asked, said in (((2,), "add --market"), ((3,), "no receipt of window 3")):
        with pytest.raises(BadInput, match=said):
            receipts.of_round(both, *asked)
    with pytest.raises(BadInput, match="name a bid"):
        receipts.of_round([told(1), told(1)], 1)


def test_a_receipt_is_no_news_to_a_bidder() -> None:
    """It ends no bid and leaves what an agent sees as it was: bidders decide as without it."""
    assert "receipt" not in outcomes.TERMINAL_BID_KINDS
    seen = view.View(tenant="research", agent="tuner")
    assert view.told(seen, golden()) is seen


def test_a_receipt_is_one_short_line_when_followed(capsys: pytest.CaptureFixture[str]) -> None:
    """Market and window say which round it is for; the proof is not for reading."""
    showing.streamed(golden(), as_json=False)
    assert capsys.readouterr().out.rstrip().endswith("receipt  pool-a window 7")
