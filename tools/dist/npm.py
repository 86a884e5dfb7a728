"""The npm packages: the binding, and for each platform one with its library, which npm takes only where it fits."""

import json
import shutil
import subprocess

import packing


def pack(package, directory):
    """`npm pack` gives the same bytes for the same files."""
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", directory]
    subprocess.run(command, cwd=package, check=True, stdout=subprocess.DEVNULL)


def library(platform, built, version, scratch, directory):
    package = scratch / "npm"
    package.mkdir()
    name = (built / platform.shared).name
    shutil.copy(built / platform.shared, package / name)
    (package / name).chmod(0o644)
    for file in ("LICENSE", "THIRD_PARTY.md"):
        shutil.copy(packing.ROOT / file, package)
    about = {
        "name": f"librevenium-{platform.name}",
        "version": version,
        "description": f"The native library of the package librevenium, for {platform.name}",
        "license": "MIT",
        "os": [platform.system],
        "cpu": [platform.cpu],
        **({"libc": [platform.libc]} if platform.libc else {}),
        "files": [name, "THIRD_PARTY.md"],
    }
    (package / "package.json").write_text(json.dumps(about, indent=2) + "\n")
    pack(package, directory)


def binding(packaged, version, scratch, directory):
    source, package = packing.ROOT / "bindings/node", scratch / "npm-binding"
    about = json.loads((source / "package.json").read_text())
    package.mkdir()
    for name in [*about["files"], "README.md"]:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, package / name)
    for file in ("LICENSE", "THIRD_PARTY.md"):
        shutil.copy(packing.ROOT / file, package)
    about["files"].append("THIRD_PARTY.md")
    about["optionalDependencies"] = {f"librevenium-{platform.name}": version for platform in packaged}
    for development in ("devDependencies", "scripts"):
        del about[development]
    (package / "package.json").write_text(json.dumps(about, indent=2) + "\n")
    pack(package, directory)
