"""Detectors for programs that know nothing of facetell: a folder with the model, how to feed it, and how to read it."""
