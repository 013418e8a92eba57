"""Pictures on disk to batches of pixels: sources, face sets, splits, the decoded cache."""

from __future__ import annotations
