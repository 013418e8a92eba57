"""Bytes to RGB as a viewer shows it, resizing, corruptions, and what pictures can be compared by."""
