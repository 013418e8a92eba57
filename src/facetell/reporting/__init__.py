"""Reports: from a predictions table to numbers, a page for people and plots; and comparisons of them."""

from __future__ import annotations

from facetell.reporting.comparing import write_comparison
from facetell.reporting.report import check_destination, write_report

__all__ = ["check_destination", "write_comparison", "write_report"]
