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
"""Folder of the C sources."""
PURPOSES = {"evaluate": ("mace.c",), "train": ("update.c", "train.c", "mace.c", "gate.h")}
"""Source files of each purpose: the first one is compiled and includes the others."""
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
"""Compiler flags for code whose arithmetic must be rounded exactly as written."""
VECTOR_BYTES = "PALIRS_VECTOR_BYTES"
"""Environment variable with the length of vectors in bytes: 16, 32 or 64."""


class CompilerError(Exception):
    """There is no C compiler, or it failed."""


@lru_cache(maxsize=32)
def library(header: str, purpose: str = "evaluate") -> ctypes.CDLL:
    """Return the compiled code for one architecture, see :func:`built`.

    ``purpose`` is a key of :data:`PURPOSES`.
    """
    flags = FLAGS
    if vector_bytes() == 64 and "avx512f" in _processor():
        flags = (*FLAGS, "-mprefer-vector-width=512")
    return built(tuple(HERE / name for name in PURPOSES[purpose]), flags, header)


def built(sources: tuple[Path, ...], flags: tuple[str, ...], header: str = "") -> ctypes.CDLL:
    """Compile the first of these files, which includes the others and ``shape.h``, and load it.

    ``header`` is the text of ``shape.h``. Compiled code is cached for each kind of machine in
    ``$XDG_CACHE_HOME/palirs`` (``~/.cache/palirs``). The compiler is ``$CC``, or else the first of
    ``cc``, ``gcc`` and ``clang`` that exists.

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
    """Compile a source file with this ``shape.h`` into the shared library ``target``."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            (Path(folder) / "shape.h").write_text(header)
            compiled = Path(folder) / "compiled.so"
            process = subprocess.run(
                [*command, f"-I{folder}", f"-I{HERE}", str(source), "-o", str(compiled), "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if process.returncode:
                raise CompilerError(f"{command[0]} failed: {process.stderr.strip()[-2000:]}")
            compiled.replace(target)  # atomic: several processes may do this at once
    except OSError as error:
        raise CompilerError(f"{command[0]} could not write to {target.parent}: {error}") from error


def vector_bytes() -> int:
    """Return the length of vectors [bytes]: :data:`VECTOR_BYTES`, or what suits the processor.

    64 with AVX-512, else 32 (AVX2, or two registers of NEON).

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
    """Return the folder of compiled code."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palirs"


@lru_cache(maxsize=4)
def _version(compiler: str) -> str:
    """Return what a compiler prints as its version."""
    return subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return a description of the processor, on which ``-march=native`` depends.

    Part of the key of compiled code, as different machines may share a home directory.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    fields = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(fields)}))
