"""Fakes made from real faces alone, for detectors that shall know no forger: pixels, masks, and the face set of them."""
