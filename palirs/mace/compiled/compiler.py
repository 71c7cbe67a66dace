"""Compilation of C code, cached for each kind of machine."""

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
"""Source files: the first one is compiled and includes the others."""
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
"""Flags for code that has to round as written."""
VECTOR_BYTES = "PALIRS_VECTOR_BYTES"
"""Environment variable that sets the length of vectors: 16, 32 or 64."""


class CompilerError(Exception):
    """There is no C compiler, or it failed."""


@lru_cache(maxsize=32)
def library(header: str, purpose: str = "evaluate") -> ctypes.CDLL:
    """Return the compiled code for one architecture, see :func:`built`."""
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
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next(filter(None, (shutil.which(name) for name in names if name)), None)
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
    target = _cache() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.so"
    if not target.exists():
        _compile([compiler, *flags], header, sources[0], target)
    return ctypes.CDLL(str(target))


def _compile(command: list[str], header: str, source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            (Path(folder) / "shape.h").write_text(header)
            built = Path(folder) / "built.so"
            done = subprocess.run(
                [*command, f"-I{folder}", f"-I{HERE}", str(source), "-o", str(built), "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise CompilerError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
            built.replace(target)  # atomic: several processes may do this at once
    except OSError as error:
        raise CompilerError(f"{command[0]} could not write to {target.parent}: {error}") from error


def vector_bytes() -> int:
    """Return the bytes of a vector: :data:`VECTOR_BYTES`, or what suits the processor.

    64 with AVX-512, else 32 (two registers of NEON).

    Raises
    ------
    CompilerError
        If :data:`VECTOR_BYTES` has another value than 16, 32 or 64.
    """
    size = os.environ.get(VECTOR_BYTES)
    if size is None:
        return 64 if {"avx512f", "avx512vl", "avx512dq"} <= set(_processor().split()) else 32
    if size not in ("16", "32", "64"):
        raise CompilerError(f"{VECTOR_BYTES} = {size!r}: it must be 16, 32 or 64")
    return int(size)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palirs"


@lru_cache(maxsize=4)
def _version(compiler: str) -> str:
    return subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return what -march=native depends on, as unlike machines may share a home directory."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kept)}))
