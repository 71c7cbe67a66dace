"""Compiling the C code for one architecture, once per machine."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

PURPOSES = {"evaluate": ("mace.c",), "train": ("update.c", "train.c", "mace.c")}
"""What is compiled: the first file, which includes the others."""
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-std=gnu11", "-shared", "-fPIC")
VECTOR_BYTES = "PALIRS_VECTOR_BYTES"
"""Environment variable that sets the length of vectors: 16, 32 or 64."""


class CompilerError(Exception):
    """There is no C compiler, or it failed."""


@lru_cache(maxsize=32)
def library(header: str, purpose: str = "evaluate") -> ctypes.CDLL:
    """Compile the code for this header and load it; what was compiled before on this kind of machine is taken from the cache.

    The cache is ``$XDG_CACHE_HOME/palirs`` (``~/.cache/palirs``). ``$CC`` names the compiler, else ``cc``, ``gcc`` or ``clang`` is taken.

    Raises
    ------
    CompilerError
        If there is no compiler or it fails.
    """
    compiler = next((found for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise CompilerError("no C compiler (cc, gcc, clang) found")
    sources = [Path(__file__).with_name(name) for name in PURPOSES[purpose]]
    flags = [*FLAGS, *(["-mprefer-vector-width=512"] if vector_bytes() == 64 and "avx512f" in _processor() else [])]
    key = "\n".join([header, *(source.read_text() for source in sources), *flags, compiler, _version(compiler), _processor()])
    place = _cache() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.so"
    if not place.exists():
        _compile([compiler, *flags], header, sources[0], place)
    return ctypes.CDLL(str(place))


def _compile(command: list[str], header: str, source: Path, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            (Path(folder) / "shape.h").write_text(header)
            built = Path(folder) / "built.so"
            done = subprocess.run(
                [*command, f"-I{folder}", str(source), "-o", str(built), "-lm"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise CompilerError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
            built.replace(place)  # several processes may do this at once
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
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return what -march=native depends on: home directories are shared between machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}))
