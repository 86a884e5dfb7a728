"""The platforms that are packaged, with their names in each world, and how their files are called."""

import dataclasses
import re
import subprocess


@dataclasses.dataclass(frozen=True)
class Platform:
    name: str  # in the names of archives and npm packages
    system: str  # linux or darwin or win32: how files are called
    cpu: str  # npm's word
    machine: str  # in tags of wheels
    go: str  # GOOS_GOARCH
    libc: str = ""  # glibc or musl, where there is a choice
    debian: str = ""  # architecture, where there is a package for Debian
    wheel: str = ""  # the tag, where the library does not tell it

    @property
    def shared(self):
        """The shared library below what `build` leaves."""
        return {"linux": "lib/librevenium.so", "darwin": "lib/librevenium.dylib", "win32": "bin/revenium.dll"}[self.system]

    @property
    def command(self):
        return "bin/revenium.exe" if self.system == "win32" else "bin/revenium"

    @property
    def loaded(self):
        """By this name programs that are linked with it ask for the shared library."""
        return {"linux": "librevenium.so.1", "darwin": "librevenium.1.dylib", "win32": "revenium.dll"}[self.system]

    def wheel_tag(self, library):
        if self.libc == "glibc":
            return f"manylinux_{oldest_glibc(library).replace('.', '_')}_{self.machine}"
        return self.wheel


PLATFORMS = {
    platform.name: platform
    for platform in [
        Platform("linux-x64", "linux", "x64", "x86_64", "linux_amd64", libc="glibc", debian="amd64"),
    ]
}


def oldest_glibc(library):
    """The oldest glibc that has all of what the library asks for."""
    text = subprocess.run(["readelf", "-V", "-W", library], check=True, capture_output=True, text=True).stdout
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"\bGLIBC_([0-9.]+)", text)}
    if not versions:
        raise SystemExit(f"dist: {library} names no version of glibc")
    return ".".join(map(str, max(versions)))
