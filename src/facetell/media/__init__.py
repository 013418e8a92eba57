"""Photos and videos of any origin to pixels, safely: what a file is, which frames of it, and what is missing."""

from __future__ import annotations
