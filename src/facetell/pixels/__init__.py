"""Bytes to RGB as a viewer shows it, resizing, corruptions, and what pictures can be compared by."""

import warnings

__all__ = ["hide_metadata_warnings"]


def hide_metadata_warnings() -> None:
    """Hide what Pillow and pillow-heif warn of in pictures, in the whole process: for the command and its workers only.

    They warn of odd metadata, which does not change pixels. In a notebook it is the user who decides.
    """
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
