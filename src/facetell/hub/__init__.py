"""Repositories of the Hugging Face Hub, named ``hf://owner/name[@revision]``: what may be in one, fetching, sending.

What lies in a repository is known by its names and sizes before a byte of it is fetched, stays in the cache of the hub's own
library, and is taken for use only once it was checked whole. A revision is a commit, whose hash is said.
"""

from facetell.hub.client import client
from facetell.hub.contents import CARD, Contents
from facetell.hub.fetching import fetched, is_fetched
from facetell.hub.reference import Reference, reference_in
from facetell.hub.sending import send

__all__ = ["CARD", "Contents", "Reference", "client", "fetched", "is_fetched", "reference_in", "send"]
