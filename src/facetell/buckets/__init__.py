"""Files in buckets, ``s3://bucket/folder`` and ``gs://bucket/folder``: looked at and read, never written.

By the file systems of pyarrow, which the core has already: nothing is to be installed, they read in threads of their own, and
take credentials from where the tools of each cloud do.
"""

from facetell.buckets.client import check_address, is_bucket
from facetell.buckets.path import BucketPath, is_file, is_folder, is_there, list_names, look, place, status

__all__ = [
    "BucketPath",
    "check_address",
    "is_bucket",
    "is_file",
    "is_folder",
    "is_there",
    "list_names",
    "look",
    "place",
    "status",
]
