"""The features that HELLO negotiates, and the datatype bits."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Feature(IntEnum):
    """A feature that a client asks for with HELLO."""

    DATATYPE = 0x01
    TLS = 0x02
    TCP_NODELAY = 0x03
    MUTATION_SEQNO = 0x04
    TCP_DELAY = 0x05
    XATTR = 0x06
    XERROR = 0x07
    SELECT_BUCKET = 0x08
    SNAPPY = 0x0A
    JSON = 0x0B
    DUPLEX = 0x0C
    UNORDERED_EXECUTION = 0x0E
    TRACING = 0x0F
    ALT_REQUEST = 0x10
    SYNC_REPLICATION = 0x11
    COLLECTIONS = 0x12
    PRESERVE_TTL = 0x14
    SUBDOC_CREATE_AS_DELETED = 0x17
    SUBDOC_DOCUMENT_MACROS = 0x18
    SUBDOC_REPLACE_BODY_WITH_XATTR = 0x19


class DataType(IntFlag):
    """The bits that tell how a value is encoded."""

    RAW = 0
    JSON = 1
    SNAPPY = 2
    XATTR = 4
