"""Loss and jitter, heard by baresip and by us: the same packets, at the same time."""

from __future__ import annotations

import sys
from statistics import fmean

import pytest

from tests.support.stack import ROOT

pytestmark = [pytest.mark.peers, pytest.mark.deep, pytest.mark.usefixtures("needs_baresip")]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_we_hear_no_worse_than_baresip(loss: float) -> None:
    """Random loss with 30 ms of jitter. PESQ where it is installed; it needs a compiler."""
    from side_by_side import Condition, compare

    theirs, ours = compare(Condition(loss), seconds=8.0)
    assert fmean(ours.snr_db) > fmean(theirs.snr_db) - 0.2
    if ours.pesq:
        assert fmean(ours.pesq) > fmean(theirs.pesq)
