"""Faces in pictures and frames: finding, judging, cropping and linking them."""
