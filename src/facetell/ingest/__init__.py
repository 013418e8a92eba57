"""Makes a face set of files on disk: label folders, an index or a known data set; photos, videos or ready crops."""
