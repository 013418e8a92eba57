"""Files on disk to a face set: index, label folders, layouts of known data sets, extraction."""
