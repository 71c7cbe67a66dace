"""Compiling C code, once per machine."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).parent
PURPOSES = {"evaluate": ("mace.c",), "train": ("update.c", "train.c", "mace.c", "gate.h")}
"""What is compiled: the first file, which includes the others."""
FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-std=gnu11",
    "-shared",
    "-fPIC",
)
EXACT = ("-O2", "-ffp-contract=off", "-std=gnu11", "-shared", "-fPIC")
"""Flags of what has to round as it is written."""
VECTOR_BYTES = "PALIRS_VECTOR_BYTES"
"""Environment variable that sets the length of vectors: 16, 32 or 64."""


class CompilerError(Exception):
    """There is no C compiler, or it failed."""


@lru_cache(maxsize=32)
def library(header: str, purpose: str = "evaluate") -> ctypes.CDLL:
    """Return the code for one architecture, see :func:`built`."""
    wide = (
        ("-mprefer-vector-width=512",) if vector_bytes() == 64 and "avx512f" in _processor() else ()
    )
    return built(tuple(HERE / name for name in PURPOSES[purpose]), (*FLAGS, *wide), header)


def built(sources: tuple[Path, ...], flags: tuple[str, ...], header: str = "") -> ctypes.CDLL:
    """Compile the first of these files, which includes the others and ``shape.h``, and load it.

    What was compiled before on this kind of machine is taken from the cache,
    ``$XDG_CACHE_HOME/palirs`` (``~/.cache/palirs``). ``$CC`` names the compiler, else ``cc``,
    ``gcc`` or ``clang`` is taken.

    Raises
    ------
    CompilerError
        If there is no compiler or it fails.
    """
    compiler = next(
        (
            found
            for name in (os.environ.get("CC"), "cc", "gcc", "clang")
            if name and (found := shutil.which(name))
        ),
        None,
    )
    if compiler is None:
        raise CompilerError("no C compiler (cc, gcc, clang) found")
    key = "\n".join(
        [
            header,
            *(source.read_text() for source in sources),
            *flags,
            compiler,
            _version(compiler),
            _processor(),
        ]
    )
    place = _cache() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.so"
    if not place.exists():
        _compile([compiler, *flags], header, sources[0], place)
    return ctypes.CDLL(str(place))


def _compile(command: list[str], header: str, source: Path, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            (Path(folder) / "shape.h").write_text(header)
            target = Path(folder) / "built.so"
            done = subprocess.run(
                [*command, f"-I{folder}", f"-I{HERE}", str(source), "-o", str(target), "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise CompilerError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
            target.replace(place)  # several processes may do this at once
    except OSError as error:
        raise CompilerError(f"{command[0]} could not write to {place.parent}: {error}") from error


def vector_bytes() -> int:
    """Return the bytes in a vector: 64 where the processor has AVX-512, else 32 (two registers of NEON), unless the user says otherwise.

    Raises
    ------
    CompilerError
        If the user says what cannot be.
    """
    asked = os.environ.get(VECTOR_BYTES)
    if asked is None:
        return 64 if {"avx512f", "avx512vl", "avx512dq"} <= set(_processor().split()) else 32
    if asked not in ("16", "32", "64"):
        raise CompilerError(f"{VECTOR_BYTES} = {asked!r}: it must be 16, 32 or 64")
    return int(asked)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palirs"


@lru_cache(maxsize=4)
def _version(compiler: str) -> str:
    return subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return what -march=native depends on: home directories are shared between machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return "\n".join(
        sorted(
            {
                line
                for line in lines
                if line.startswith(("model name", "flags", "Features", "CPU part"))
            }
        )
    )
