"""Detectors: a fitted network with its calibration, threshold and history, as a folder on disk and as an object."""
