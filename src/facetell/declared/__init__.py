"""What a file says of itself: Content Credentials, digital source type, traces of generators, the camera."""
