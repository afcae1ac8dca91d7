"""What docs/sip.md shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trunkline.trunks_file import parse_trunks

PAGE = (Path(__file__).parents[3] / "docs" / "sip.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_trunks_file_of_the_page_is_taken(example: str) -> None:
    assert parse_trunks(example, lambda _: "secret")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5
