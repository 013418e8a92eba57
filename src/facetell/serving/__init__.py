"""A detector behind an address: requests, keys, limits, workers that may crash, and a detector that changes in between."""
