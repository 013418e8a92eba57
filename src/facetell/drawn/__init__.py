"""Drawn faces: procedural stand-ins for photos, and two kinds of forgery made from them. They show nobody."""
