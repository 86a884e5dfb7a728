"""What C and C++ programs are built with: an archive that may be unpacked anywhere, and packages for Debian."""

import os
import shutil
import subprocess

import packing
import platforms

DESCRIPTION = "Call Claude and meter each call to Revenium"
# What a package holds of the installed tree, and what it needs besides.
DEBIAN = {
    "librevenium1": ("libs", ["usr/lib/*/librevenium.so.*"], "libc6 (>= {glibc}){gcc}", "the shared library"),
    "librevenium-dev": (
        "libdevel",
        ["usr/include", "usr/lib/*/librevenium.so", "usr/lib/*/librevenium.a", "usr/lib/*/pkgconfig", "usr/lib/*/cmake"],
        "librevenium1 (= {version}), libc6-dev",
        "headers for C and C++, the static library, pkg-config and CMake files",
    ),
    "revenium": ("utils", ["usr/bin"], "libc6 (>= {glibc}){gcc}", "the command: status, spool, doctor, sandbox"),
}


def install(platform, built, stage, prefix, **places):
    """What `make install` installs, of a library that is built already."""
    variables = {"CARGO": "true", "DESTDIR": stage, "PREFIX": prefix, "SYSTEM": platform.system, **places}
    variables |= {"STATIC_LIBRARIES": platform.static, "SHARED": built / platform.shared, "STATIC": built / "lib/librevenium.a", "COMMAND": built / platform.command}
    words = [f"{name}={value}" for name, value in variables.items()]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run(["make", "-s", "--no-print-directory", "-C", packing.ROOT, "install", *words], check=True, env=environment)


def archive(platform, built, version, scratch, directory):
    name = f"librevenium-{version}-{platform.name}"
    install(platform, built, scratch, f"/{name}")
    packing.tar_gz(scratch / name, directory / f"{name}.tar.gz")


def debian(platform, built, version, scratch, directory):
    """With dpkg-deb, which is everywhere where such packages are made, rather than with a cargo tool that takes minutes
    to build: what they hold is installed by `make install` in any case."""
    lib = f"/usr/lib/{platform.machine}-linux-gnu"
    install(platform, built, scratch / "all", "/usr", LIBDIR=lib)
    needed = subprocess.run(["readelf", "-d", built / platform.shared], check=True, capture_output=True, text=True).stdout
    gcc = ", libgcc-s1" if "libgcc_s" in needed else ""
    fields = {"glibc": platforms.oldest_glibc(built / platform.shared), "gcc": gcc, "version": version}
    found = {name: [path for pattern in row[1] for path in sorted((scratch / "all").glob(pattern))] for name, row in DEBIAN.items()}
    for name, (section, _, depends, what) in DEBIAN.items():
        tree = scratch / name
        for path in found[name]:
            target = tree / path.relative_to(scratch / "all")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        documents = tree / "usr/share/doc" / name
        documents.mkdir(parents=True)
        shutil.copy(packing.ROOT / "LICENSE", documents / "copyright")
        shutil.copy(packing.ROOT / "THIRD_PARTY.md", documents)
        size = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
        control = {
            "Package": name,
            "Version": version,
            "Architecture": platform.debian,
            "Maintainer": "librevenium <https://github.com/librevenium/librevenium>",
            "Installed-Size": size,
            "Depends": depends.format(**fields),
            "Section": section,
            "Priority": "optional",
            **({} if name == "revenium" else {"Multi-Arch": "same"}),
            "Homepage": "https://github.com/librevenium/librevenium",
            "Description": f"{DESCRIPTION}: {what}",
        }
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in control.items()))
        if name == "librevenium1":
            (tree / "DEBIAN/triggers").write_text("activate-noawait ldconfig\n")
        for path in [tree, *tree.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        quick = ["-z0"] if packing.level() == 1 else []
        command = ["dpkg-deb", "-Zxz", *quick, "--root-owner-group", "--build", tree, directory]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(packing.epoch())}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    left = [path for path in (scratch / "all").rglob("*") if not path.is_dir() and "share/doc" not in str(path)]
    if left:
        raise SystemExit(f"dist: in no package for Debian: {left}")
