"""The two labels, and nothing else: 0 = real, 1 = fake, the positive class."""

from __future__ import annotations

__all__ = ["FAKE", "LABELS", "REAL"]

REAL, FAKE = 0, 1
LABELS = ("real", "fake")
"""Names by label."""
