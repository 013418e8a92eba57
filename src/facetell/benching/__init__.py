"""``bench``: a grid of detectors from a TOML file, fitted, measured and set beside the papers' numbers in one table."""

from facetell.benching.run import bench

__all__ = ["bench"]
