"""The platforms that are packaged: their names in each world, and how their files are called."""

import dataclasses
import re
import subprocess


@dataclasses.dataclass(frozen=True)
class Platform:
    name: str  # in the names of archives and npm packages
    system: str  # linux or darwin or win32: how files are called
    cpu: str  # npm's word
    machine: str  # in Debian's directories, and in the tags of wheels where glibc's are
    static: str  # what a program with the static library is linked with besides
    go: str = ""  # the directory of the Go module, where there is one
    libc: str = ""  # glibc or musl, where there is a choice
    debian: str = ""  # architecture
    wheel: str = ""  # the tag; of glibc's the library tells it

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
        return self.wheel or f"manylinux_{oldest_glibc(library).replace('.', '_')}_{self.machine}"


GLIBC = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
MACOS = "-framework CoreFoundation -framework Security"
WINDOWS = "-lbcrypt -ladvapi32 -lcrypt32 -lws2_32 -luserenv -lntdll -lkernel32"
PLATFORMS = {
    platform.name: platform
    for platform in [
        Platform("linux-x64", "linux", "x64", "x86_64", GLIBC, "linux_amd64", "glibc", "amd64"),
        Platform("linux-arm64", "linux", "arm64", "aarch64", GLIBC, "linux_arm64", "glibc", "arm64"),
        Platform("linux-x64-musl", "linux", "x64", "x86_64", "-lc", "linux_amd64_musl", "musl", wheel="musllinux_1_2_x86_64"),
        Platform("darwin-arm64", "darwin", "arm64", "arm64", MACOS, "darwin_arm64", wheel="macosx_11_0_arm64"),
        Platform("darwin-x64", "darwin", "x64", "x86_64", MACOS, "darwin_amd64", wheel="macosx_11_0_x86_64"),
        Platform("win32-x64", "win32", "x64", "x86_64", WINDOWS, "windows_amd64", wheel="win_amd64"),
    ]
}


def oldest_glibc(library):
    """The oldest glibc that has all of what the library asks for."""
    text = subprocess.run(["readelf", "-V", "-W", library], check=True, capture_output=True, text=True).stdout
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"\bGLIBC_([0-9.]+)", text)}
    if not versions:
        raise SystemExit(f"dist: {library} names no version of glibc")
    return ".".join(map(str, max(versions)))
