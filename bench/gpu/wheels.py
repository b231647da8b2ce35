"""Wheels in parts small enough to carry, and whole again on the other side, checked by SHA-256."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

SUMS = "SHA256SUMS"
PART_BYTES = 40 << 20
_CHUNK = 1 << 20


def split(folder: Path, *, part_bytes: int = PART_BYTES) -> list[Path]:
    """Replaces large wheels by parts, name.whl.part00 and so on, and writes the sums of the whole ones."""
    wheels = sorted(folder.glob("*.whl"))
    sums = {wheel.name: _sha256(wheel) for wheel in wheels}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    written = []
    for wheel in wheels:
        if wheel.stat().st_size <= part_bytes:
            written.append(wheel)
            continue
        with wheel.open("rb") as whole:
            for number, content in enumerate(iter(lambda whole=whole: whole.read(part_bytes), b"")):
                part = folder / f"{wheel.name}.part{number:02d}"
                part.write_bytes(content)
                written.append(part)
        wheel.unlink()
    return written


def join(folder: Path, out: Path) -> list[Path]:
    """The wheels of a folder, whole, in `out`. Raises ValueError for one that is missing or has another sum."""
    file = folder / SUMS
    if not file.is_file():
        raise ValueError(f"{file}: there are no sums; make the folder with bench/gpu/collect_wheels.sh")
    out.mkdir(parents=True, exist_ok=True)
    joined = []
    for line in file.read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        wheel = out / name
        with wheel.open("wb") as whole:
            for piece in _pieces(folder, name):
                whole.write(piece)
        found = _sha256(wheel)
        if found != digest:
            raise ValueError(f"{wheel}: SHA-256 is {found[:12]}…, {SUMS} says {digest[:12]}…; carry its parts anew")
        joined.append(wheel)
    return joined


def _pieces(folder: Path, name: str) -> Iterator[bytes]:
    whole = folder / name
    parts = [whole] if whole.is_file() else sorted(folder.glob(f"{name}.part[0-9][0-9]"))
    if not parts:
        raise ValueError(f"{folder}: neither {name} nor parts of it are there")
    for part in parts:
        with part.open("rb") as opened:
            yield from iter(lambda opened=opened: opened.read(_CHUNK), b"")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.wheels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("folder", type=Path)
    splitting.add_argument("--part-mib", type=int, default=PART_BYTES >> 20, help="of a part, at most")
    joining = commands.add_parser("join")
    joining.add_argument("folder", type=Path)
    joining.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    try:
        files = (
            split(options.folder, part_bytes=options.part_mib << 20)
            if options.command == "split"
            else join(options.folder, options.out)
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    for file in files:
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
