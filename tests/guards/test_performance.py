"""What the documents say of speed was measured: it is what `make bench` wrote from its results."""

from __future__ import annotations

import pytest

from benchmarks import report
from benchmarks.__main__ import MEASUREMENTS


def test_it_says_what_was_measured():
    for path, text in report.written(report.load(), MEASUREMENTS).items():
        assert path.read_text() == text, f"{path.name} does not say what benchmarks/results.json holds"


def test_it_would_notice():
    text = "before\n<!-- figures: written by `make bench` -->\n\n12 ms\n\n<!-- end of figures -->\nafter"
    assert report.between_marks(text, "13 ms") != text
    assert report.between_marks(text, "12 ms") == text
    with pytest.raises(ValueError, match="one place"):
        report.between_marks("12 ms", "13 ms")
