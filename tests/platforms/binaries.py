"""What a library or program is made for, read from its bytes: ELF, Mach-O, PE, and archives of their objects."""

import dataclasses
import hashlib
import struct


@dataclasses.dataclass
class Binary:
    kind: str  # elf, macho, pe
    machine: str  # x86_64 or arm64
    name: str = ""  # by which programs ask for it
    minimum: str = ""  # of macOS
    needed: tuple = ()  # libraries
    exported: frozenset = frozenset()
    signed: bool = False  # every page of a Mach-O file has the hash that its signature says


ELF_MACHINES = {62: "x86_64", 183: "arm64"}
MACHO_MACHINES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
PE_MACHINES = {0x8664: "x86_64", 0xAA64: "arm64"}
LC_SYMTAB, LC_LOAD_DYLIB, LC_ID_DYLIB, LC_CODE_SIGNATURE, LC_BUILD_VERSION = 0x02, 0x0C, 0x0D, 0x1D, 0x32
SUPERBLOB, CODE_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
ADHOC = 0x2


def read(data):
    if data[:4] == b"\x7fELF":
        return Binary("elf", ELF_MACHINES[struct.unpack_from("<H", data, 18)[0]])
    if data[:4] == b"\xcf\xfa\xed\xfe":
        return macho(data)
    if data[:2] == b"MZ":
        at = struct.unpack_from("<I", data, 0x3C)[0]
        if data[at : at + 4] == b"PE\0\0":
            return Binary("pe", PE_MACHINES[struct.unpack_from("<H", data, at + 4)[0]])
    machine = struct.unpack_from("<H", data, 0)[0]
    if machine in PE_MACHINES:  # an object file has no more
        return Binary("pe", PE_MACHINES[machine])
    raise ValueError(f"no binary begins with {data[:16]}")


def archive(data):
    """Of an archive, what its first object is made for."""
    if data[:8] != b"!<arch>\n":
        raise ValueError(f"no archive begins with {data[:8]}")
    at = 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        at += 60
        length = int(name[3:]) if name.startswith("#1/") else 0
        inner = data[at : at + length].rstrip(b"\0").decode() if length else name
        if inner not in ("/", "//", "/SYM64/") and not inner.startswith("__.SYMDEF"):
            return read(data[at + length : at + size])
        at += size + size % 2
    raise ValueError("the archive is empty")


def text(data, at):
    return data[at : data.index(b"\0", at)].decode()


def macho(data):
    found = Binary("macho", MACHO_MACHINES[struct.unpack_from("<I", data, 4)[0]])
    at, needed = 32, []
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, at)
        if command in (LC_LOAD_DYLIB, LC_ID_DYLIB):
            name = text(data, at + struct.unpack_from("<I", data, at + 8)[0])
            if command == LC_ID_DYLIB:
                found.name = name
            else:
                needed.append(name)
        elif command == LC_BUILD_VERSION:
            version = struct.unpack_from("<I", data, at + 12)[0]
            found.minimum = f"{version >> 16}.{version >> 8 & 0xFF}"
        elif command == LC_SYMTAB:
            found.exported = frozenset(symbols(data, *struct.unpack_from("<IIII", data, at + 8)))
        elif command == LC_CODE_SIGNATURE:
            found.signed = signature(data, struct.unpack_from("<I", data, at + 8)[0])
        at += size
    found.needed = tuple(needed)
    return found


def symbols(data, offset, count, strings, _):
    for index in range(count):
        name, kind = struct.unpack_from("<IB", data, offset + 16 * index)
        # External, defined, and neither private to the file nor a debugger's.
        if kind & 0xF1 == 0x01 and kind & 0x0E:
            yield text(data, strings + name)


def signature(data, at):
    """Whether it is an ad hoc signature, and of these bytes."""
    magic, _, count = struct.unpack_from(">III", data, at)
    if magic != SUPERBLOB:
        return False
    for index in range(count):
        blob = at + struct.unpack_from(">I", data, at + 16 + 8 * index)[0]
        if struct.unpack_from(">I", data, blob)[0] != CODE_DIRECTORY:
            continue
        flags, hashes, _, _, slots, limit = struct.unpack_from(">IIIIII", data, blob + 12)
        size, kind, _, page = struct.unpack_from(">BBBB", data, blob + 36)
        if not flags & ADHOC or kind != 2 or limit != at:
            return False
        pages = [data[start : min(start + (1 << page), limit)] for start in range(0, limit, 1 << page)]
        wanted = [data[blob + hashes + size * slot : blob + hashes + size * (slot + 1)] for slot in range(slots)]
        return [hashlib.sha256(bytes).digest() for bytes in pages] == wanted
    return False
