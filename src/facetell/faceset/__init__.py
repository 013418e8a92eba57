"""The table of face crops: schema, reading, writing, splits, leaks, joining."""
