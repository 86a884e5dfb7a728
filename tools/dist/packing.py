"""Archives whose bytes depend on nothing but the files in them."""

import gzip
import os
import pathlib
import subprocess
import tarfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def epoch():
    """The time of every file: SOURCE_DATE_EPOCH, or that of the last commit, or the first that an archive can hold."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 315532800


def level():
    """Development builds are packed to be tried, not to be kept."""
    return 1 if os.environ.get("PROFILE") == "dev" else 9


def tar_gz(directory, target):
    """The directory, by its own name, as a tar file."""

    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = epoch()
        info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        return info

    with open(target, "wb") as raw, gzip.GzipFile("", "wb", level(), raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in [directory, *sorted(directory.rglob("*"))]:
                archive.add(path, str(path.relative_to(directory.parent)), recursive=False, filter=plain)


def zip_files(files, target):
    """Files by their names in the archive; what they hold is a path or bytes."""
    date = time.gmtime(epoch())[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=level()) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes(), compresslevel=level())
