"""packages.py DIST PLATFORM...: whether each package is what its name says: metadata, names, and what its binaries are made
for; and whether npm and pip take the right one of all of them. Nothing of it is run. Says what is wrong, or nothing."""

import email
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import binaries

dist, wanted = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
version = re.search(r'^version = "(.*)"', pathlib.Path("Cargo.toml").read_text(), re.MULTILINE).group(1)

# What each world calls a platform. The tag of glibc's is that of the library: any version.
MADE = {
    "linux-x64": dict(kind="elf", machine="x86_64", npm=("linux", "x64", "glibc"), wheel=r"manylinux_2_\d+_x86_64", go="linux_amd64", deb="amd64"),
    "linux-arm64": dict(kind="elf", machine="arm64", npm=("linux", "arm64", "glibc"), wheel="manylinux_2_17_aarch64", go="linux_arm64", deb="arm64"),
    "linux-x64-musl": dict(kind="elf", machine="x86_64", npm=("linux", "x64", "musl"), wheel="musllinux_1_2_x86_64", go="linux_amd64_musl"),
    "darwin-arm64": dict(kind="macho", machine="arm64", npm=("darwin", "arm64", None), wheel="macosx_11_0_arm64", go="darwin_arm64"),
    "darwin-x64": dict(kind="macho", machine="x86_64", npm=("darwin", "x64", None), wheel="macosx_11_0_x86_64", go="darwin_amd64"),
    "win32-x64": dict(kind="pe", machine="x86_64", npm=("win32", "x64", None), wheel="win_amd64", go="windows_amd64"),
}
SHARED = {"elf": "librevenium.so", "macho": "librevenium.dylib", "pe": "revenium.dll"}
LOADED = {"elf": "librevenium.so.1", "macho": "librevenium.1.dylib", "pe": "revenium.dll"}
# Machines, as npm and as pip know them, and the platform whose package is theirs.
NPM_MACHINES = {
    **{made["npm"]: name for name, made in MADE.items()},
    ("linux", "arm64", "musl"): None,
    ("linux", "ia32", "glibc"): None,
    ("win32", "arm64", None): None,
    ("freebsd", "x64", None): None,
}
PIP_MACHINES = {
    "manylinux_2_{17..36}_x86_64": "linux-x64",
    "manylinux_2_{17..36}_aarch64": "linux-arm64",
    "manylinux_2_{5..16}_aarch64": None,
    "musllinux_1_2_x86_64": "linux-x64-musl",
    "musllinux_1_2_aarch64": None,
    "macosx_14_0_arm64": "darwin-arm64",
    "macosx_11_0_x86_64": "darwin-x64",
    "macosx_10_15_x86_64": None,
    "win_amd64": "win32-x64",
    "win_arm64": None,
}


def made_for(platform, data, where, archive=False):
    found = binaries.archive(data) if archive else binaries.read(data)
    right = (MADE[platform]["kind"], MADE[platform]["machine"])
    assert (found.kind, found.machine) == right, f"{where} is {found.kind} for {found.machine}"


def tar(data, prefix):
    """Files below a directory; links are followed."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {name.removeprefix(f"{prefix}/"): archive.extractfile(name) for name in archive.getnames() if not archive.getmember(name).isdir()}
        return {name: file.read() for name, file in names.items()}


def native(platform, files, where, lib="lib"):
    kind = MADE[platform]["kind"]
    shared = f"bin/{SHARED[kind]}" if kind == "pe" else f"{lib}/{SHARED[kind]}"
    made_for(platform, files[shared], f"{where}: {shared}")
    if kind != "pe":
        assert f"{lib}/{LOADED[kind]}" in files, f"{where} lacks {LOADED[kind]}, which is what the loader asks for"
    else:
        made_for(platform, files["lib/librevenium.dll.a"], f"{where}: librevenium.dll.a", archive=True)
    command = "bin/revenium.exe" if kind == "pe" else "bin/revenium"
    made_for(platform, files[command], f"{where}: {command}")
    made_for(platform, files[f"{lib}/librevenium.a"], f"{where}: librevenium.a", archive=True)
    for name in ("include/revenium.h", "include/revenium.hpp", f"{lib}/pkgconfig/revenium.pc", f"{lib}/cmake/revenium/revenium-config.cmake"):
        assert files.get(name), f"{where} lacks {name}"
    assert f"Version: {version}\n".encode() in files[f"{lib}/pkgconfig/revenium.pc"], f"{where}: revenium.pc has another version"
    assert LOADED[kind].encode() in files[f"{lib}/cmake/revenium/revenium-config.cmake"], f"{where}: CMake does not know {LOADED[kind]}"


def archive(platform):
    name = f"librevenium-{version}-{platform}"
    native(platform, tar((dist / f"{name}.tar.gz").read_bytes(), name), name)


def debian(platform):
    architecture, files = MADE[platform].get("deb"), {}
    triplet = {"amd64": "x86_64", "arm64": "aarch64"}.get(architecture)
    for package in ("librevenium1", "librevenium-dev", "revenium"):
        path = dist / f"{package}_{version}_{architecture}.deb"
        fields = email.message_from_bytes(subprocess.check_output(["dpkg-deb", "--field", path]))
        assert [fields[name] for name in ("Package", "Version", "Architecture")] == [package, version, architecture], fields.items()
        assert ("libc6 (>= 2." in fields["Depends"]) == (package != "librevenium-dev"), f"{path.name} depends on {fields['Depends']}"
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["dpkg-deb", "--extract", path, scratch], check=True)
            usr = pathlib.Path(scratch, "usr")
            # A link to what is in another package stands for itself.
            found = {str(file.relative_to(usr)): file for file in usr.rglob("*") if file.is_symlink() or file.is_file()}
            files |= {name: file.read_bytes() if file.exists() else b"" for name, file in found.items()}
    lib = f"lib/{triplet}-linux-gnu"
    files[f"{lib}/{SHARED['elf']}"] = files[f"{lib}/{LOADED['elf']}"]
    native(platform, files, f"*_{architecture}.deb", lib)


def npm(platform):
    made = MADE[platform]
    name = f"librevenium-{platform}"
    files = tar((dist / f"{name}-{version}.tgz").read_bytes(), "package")
    about = json.loads(files["package.json"])
    system, cpu, libc = made["npm"]
    right = {"name": name, "version": version, "os": [system], "cpu": [cpu], "libc": [libc] if libc else None}
    assert {key: about.get(key) for key in right} == right, about
    assert sorted(files) == sorted(["LICENSE", "THIRD_PARTY.md", "package.json", SHARED[made["kind"]]]), sorted(files)
    made_for(platform, files[SHARED[made["kind"]]], name)


def wheel(platform):
    made = MADE[platform]
    (path,) = [path for path in dist.glob("*.whl") if re.fullmatch(rf"librevenium-{version}-py3-none-{made['wheel']}\.whl", path.name)]
    with zipfile.ZipFile(path) as packed:
        (tags,) = [name for name in packed.namelist() if name.endswith(".dist-info/WHEEL")]
        fields = email.message_from_bytes(packed.read(tags))
        assert path.name.endswith(f"-{fields['Tag']}.whl"), f"{path.name} says inside that it is {fields['Tag']}"
        assert fields["Root-Is-Purelib"] == "false", f"{path.name} is for any platform"
        inside = [name for name in packed.namelist() if "/_lib/" in name]
        assert inside == [f"librevenium/_lib/{SHARED[made['kind']]}"], inside
        made_for(platform, packed.read(inside[0]), path.name)
    return path


def go(platform):
    made = MADE[platform]
    module = f"github.com/librevenium/librevenium/bindings/go/lib/{made['go']}"
    place = dist / "go" / module / "@v"
    assert (place / f"v{version}.mod").read_text().startswith(f"module {module}\n")
    with zipfile.ZipFile(place / f"v{version}.zip") as packed:
        inside = f"{module}@v{version}"
        if made["kind"] == "elf":
            made_for(platform, packed.read(f"{inside}/{LOADED['elf']}"), module)
        made_for(platform, packed.read(f"{inside}/librevenium.a"), module, archive=True)


def npm_picks(scratch):
    """All of them optional, as librevenium has them; npm leaves out what is for another machine."""
    binding = json.loads(tar((dist / f"librevenium-{version}.tgz").read_bytes(), "package")["package.json"])
    names = {f"librevenium-{platform}": version for platform in wanted}
    assert binding["optionalDependencies"] == names, binding["optionalDependencies"]
    optional = {name: f"file:{dist / name}-{version}.tgz" for name in names}
    for machine, platform in NPM_MACHINES.items():
        project = pathlib.Path(tempfile.mkdtemp(dir=scratch))
        (project / "package.json").write_text(json.dumps({"optionalDependencies": optional}))
        options = [f"--{option}={value}" for option, value in zip(("os", "cpu", "libc"), machine) if value]
        quiet = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(["npm", "install", *quiet, *options], cwd=project, check=True)
        taken = sorted(path.name for path in (project / "node_modules").glob("librevenium-*"))
        right = [f"librevenium-{platform}"] if platform in wanted else []
        assert taken == right, f"npm takes {taken} for {machine}"


def tags(pattern):
    """{17..36} as a shell has it: what a system takes that has the last of them."""
    spread = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not spread:
        return [pattern]
    first, last = map(int, spread.groups())
    return [pattern.replace(spread.group(), str(number)) for number in range(last, first - 1, -1)]


def pip_picks(scratch):
    wheels = {platform: wheel(platform) for platform in wanted}
    for machine, platform in PIP_MACHINES.items():
        taken = pathlib.Path(tempfile.mkdtemp(dir=scratch))
        options = [f"--platform={tag}" for tag in tags(machine)]
        command = ["pip", "download", "-q", "--disable-pip-version-check", "--no-index", f"--find-links={dist}", "--no-deps"]
        done = subprocess.run([sys.executable, "-m", *command, "--only-binary=:all:", *options, f"--dest={taken}", "librevenium"], capture_output=True, text=True)
        found = [path.name for path in taken.iterdir()]
        right = [wheels[platform].name] if platform in wanted else []
        assert found == right, f"pip takes {found} for {machine}\n{done.stderr}"
        assert right or "No matching distribution" in done.stderr, done.stderr


for platform in wanted:
    for check in (archive, npm, wheel):
        check(platform)
    if "deb" in MADE[platform]:
        debian(platform)
    if "go" in MADE[platform]:
        go(platform)
with tempfile.TemporaryDirectory() as scratch:
    npm_picks(scratch)
    pip_picks(scratch)
