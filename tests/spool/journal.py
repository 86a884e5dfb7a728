"""A second reader and writer of the journal's segments, after src/delivery/journal/frame.rs says what they are."""

import os
import struct
import zlib
from collections import namedtuple

MAGIC, MARK = b"revenium", b"\xffrvJ"
HEADER = 36
RECORD, DELIVERED, GIVEN_UP = 1, 2, 3

Record = namedtuple("Record", "sequence created_ms endpoint key transaction_id body")


def frames(data):
    """(kind, sequence, rest) of every whole frame."""
    at = HEADER if data[:8] == MAGIC and zlib.crc32(data[:32]) == struct.unpack("<I", data[32:36])[0] else 0
    while (at := data.find(MARK, at)) >= 0:
        length, crc = struct.unpack_from("<II", data, at + 4) if at + 12 <= len(data) else (0, 0)
        payload = data[at + 12:at + 12 + length]
        if length < 9 or len(payload) < length or zlib.crc32(data[at + 4:at + 8] + payload) != crc:
            at += 1
            continue
        yield payload[0], struct.unpack_from("<Q", payload, 1)[0], payload[9:]
        at += 12 + length


def read(path):
    """The records that wait in a segment, oldest first."""
    with open(path, "rb") as file:
        data = file.read()
    waiting = {}
    for kind, sequence, rest in frames(data):
        if kind == RECORD:
            texts, at = [], 8
            for _ in range(3):
                size = struct.unpack_from("<H", rest, at)[0]
                texts.append(rest[at + 2:at + 2 + size].decode())
                at += 2 + size
            waiting[sequence] = Record(sequence, struct.unpack_from("<Q", rest)[0], *texts, rest[at:])
        elif kind in (DELIVERED, GIVEN_UP):
            waiting.pop(sequence, None)
    return list(waiting.values())


def write(path, records):
    """A segment that holds these, as a dead process would have left it."""
    fingerprint = os.path.basename(os.path.dirname(path)).encode()
    header = MAGIC + struct.pack("<HHI", 1, 0, 1) + fingerprint
    parts = [header, struct.pack("<I", zlib.crc32(header))]
    for record in records:
        texts = b"".join(struct.pack("<H", len(text)) + text
                         for text in (text.encode() for text in (record.endpoint, record.key, record.transaction_id)))
        payload = struct.pack("<BQQ", RECORD, record.sequence, record.created_ms) + texts + record.body
        length = struct.pack("<I", len(payload))
        parts += [MARK, length, struct.pack("<I", zlib.crc32(length + payload)), payload]
    with open(path, "wb") as file:
        file.write(b"".join(parts))
