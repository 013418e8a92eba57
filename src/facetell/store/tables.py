"""The tables of a store, the same in SQLite and PostgreSQL. Times are seconds since 1970 (UTC).

A store has a version. One that changes a table so that an older facetell would misread it raises `VERSION`.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = [
    "ABOUT",
    "COMPARED",
    "CROPS",
    "DETECTORS",
    "EXPIRED",
    "FACES",
    "FILES",
    "LABELS",
    "PARTS",
    "SERVERS",
    "TABLES",
    "TRAIL",
    "USES",
    "VERSION",
]

VERSION = 1
EXPIRED = "expired"
"""The state of a file that is forgotten, while the labels of its faces are not."""
TABLES = MetaData()

ABOUT = Table(
    "facetell_about",
    TABLES,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""``version`` of the tables."""

SERVERS = Table(
    "facetell_servers",
    TABLES,
    Column("id", String(32), primary_key=True),
    Column("seen", Double, nullable=False),
)
"""Servers that run, and when they last said so: what one had accepted that says nothing any more is lost."""

FILES = Table(
    "facetell_files",
    TABLES,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),  # SHA-256 of the key that sent it
    Column("sender", String(128), nullable=False),  # the name of that key
    Column("name", Text, nullable=False),  # as the client calls it
    Column("video", Boolean, nullable=False),
    Column("server", String(32), nullable=False),
    Column("created", Double, nullable=False),
    Column("finished", Double),
    Column("state", String(16), nullable=False),  # accepted, done, failed, cancelled, expired
    Column("detector", String(32)),  # its identity
    Column("settings", String(32)),
    Column("sha256", String(64)),
    Column("answer", Text),  # what a client gets, JSON
    Index("facetell_files_created", "created"),
    Index("facetell_files_state", "state", "server"),
)

FACES = Table(
    "facetell_faces",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("file", ForeignKey(FILES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("track", Integer, nullable=False),
    Column("decision", String(8), nullable=False),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("p_known", Double),
    Column("novel", Boolean, nullable=False),  # unlike all that the detector knows
    Column("cut", String(16), nullable=False),  # how it was cut out of its frame
    Column("draw", Double, nullable=False, index=True),  # in [0, 1), drawn before anybody looks
    Column("doubt", Double, nullable=False),  # score from threshold; -1 where the detector was unsure
    Column("labelled", Boolean, nullable=False),  # whether anybody said anything of it
    Index("facetell_faces_waiting", "labelled", "novel", "doubt"),
)
"""One face of a photo, or one person of a video: what is labelled. There are some only where crops are kept."""

CROPS = Table(
    "facetell_crops",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("face", ForeignKey(FACES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("png", LargeBinary, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("time", Double),  # s in a video
    Column("expires", Double, nullable=False, index=True),
)

LABELS = Table(
    "facetell_labels",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("face", ForeignKey(FACES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("reviewer", String(128), nullable=False),
    Column("label", String(8), nullable=False),  # real, fake, unsure
    Column("kind", String(64)),  # of a fake, in the reviewer's word
    Column("why", Text),
    Column("at", Double, nullable=False),
)
"""All that was ever said; the last of each reviewer counts."""

DETECTORS = Table(
    "facetell_detectors",
    TABLES,
    Column("identity", String(32), primary_key=True),
    Column("name", Text, nullable=False),
)
"""Detectors that were promoted, so that every server on the store has them."""

PARTS = Table(
    "facetell_detector_files",
    TABLES,
    Column("detector", ForeignKey(DETECTORS.c.identity, ondelete="CASCADE"), primary_key=True),
    Column("path", String(255), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""The files of a detector's bundle, but for its replay buffer."""

USES = Table(
    "facetell_uses",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("detector", ForeignKey(DETECTORS.c.identity), nullable=False),
    Column("stage", String(8), nullable=False),  # shadow, current, ended
    Column("since", Double, nullable=False),
    Column("who", String(128), nullable=False),
)
"""What was promoted, the last at the end. The last that is current is in use, and going back ends it; without one, each server
judges by the detector that it was started with."""

COMPARED = Table(
    "facetell_compared",
    TABLES,
    Column("file", ForeignKey(FILES.c.id, ondelete="CASCADE"), primary_key=True),
    Column("shadow", String(32), primary_key=True),  # identity of the one that judged without being heard
    Column("detector", String(32), nullable=False),  # of the other
    Column("status", String(16), nullable=False),
    Column("score", Double),
    Column("old_status", String(16), nullable=False),
    Column("old_score", Double),
)
"""What a detector in shadow said of a file, beside what was answered."""

TRAIL = Table(
    "facetell_trail",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("who", String(128), nullable=False),
    Column("what", String(32), nullable=False),
    Column("about", Text, nullable=False),
    Index("facetell_trail_what", "what", "id"),
)
"""Who did what, oldest first. Nothing here is changed or removed."""
