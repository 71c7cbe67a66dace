"""Spoil measured spectra in every way and see whether what is read is right or an error.

``python -m tests.benchmarks.mutations <folder with .jdx files> [count] [seed]`` prints how many
mutated files gave the right spectrum, a named error, or something wrong, and the slowest and
largest."""

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from palirs.spectra import Spectrum, read_spectrum

Lines = list[bytes]


def _bytes(text: bytes, draw: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(draw.choice((1, 1, 3, 30))):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _truncated(text: bytes, draw: random.Random) -> bytes:
    return text[: draw.randrange(len(text))]


def _number(text: bytes, draw: random.Random) -> bytes:
    places = [place for place, byte in enumerate(text) if 48 <= byte <= 57]
    place = draw.choice(places)
    return (
        text[:place]
        + draw.choice((b"", b"9", b"0", b"1e5", b"-", b"nan", b"77777", b"?"))
        + text[place + 1 :]
    )


def _header(text: bytes, draw: random.Random) -> bytes:
    lines = text.split(b"\n")
    which = [number for number, line in enumerate(lines) if line.startswith(b"##")]
    number = draw.choice(which)
    label, _, value = lines[number].partition(b"=")
    kind = draw.randrange(5)
    lines[number] = (
        b"",
        label,
        label + b"=" + value[::-1],
        label.lower() + b" = " + value,
        b"##X" + label[2:] + b"=" + value,
    )[kind]
    return b"\n".join(lines)


def _header_number(text: bytes, draw: random.Random) -> bytes:
    lines = text.split(b"\n")
    names = (
        b"##FIRSTX",
        b"##LASTX",
        b"##DELTAX",
        b"##NPOINTS",
        b"##XFACTOR",
        b"##YFACTOR",
        b"##MAXX",
        b"##FIRSTY",
    )
    number = draw.choice([number for number, line in enumerate(lines) if line.startswith(names)])
    label, _, value = lines[number].partition(b"=")
    factor = draw.choice((0.0, -1.0, 0.1, 10.0, 1.01, 2.0, 1e300))
    lines[number] = label + b"=" + str(float(value) * factor).encode()
    return b"\n".join(lines)


def _line(
    change: Callable[[Lines, int, random.Random], Lines],
) -> Callable[[bytes, random.Random], bytes]:
    def mutate(text: bytes, draw: random.Random) -> bytes:
        lines = text.split(b"\n")
        return b"\n".join(change(lines, draw.randrange(len(lines)), draw))

    return mutate


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _bytes,
    "truncated": _truncated,
    "number": _number,
    "header": _header,
    "header number": _header_number,
    "line twice": _line(lambda lines, at, _: [*lines[: at + 1], *lines[at:]]),
    "line dropped": _line(lambda lines, at, _: [*lines[:at], *lines[at + 1 :]]),
    "lines swapped": _line(lambda lines, at, draw: _swapped(lines, at, draw.randrange(len(lines)))),
    "line cut": _line(
        lambda lines, at, draw: [
            *lines[:at],
            lines[at][: draw.randrange(1 + len(lines[at]))],
            *lines[at + 1 :],
        ]
    ),
}


def _swapped(lines: Lines, one: int, other: int) -> Lines:
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def judge(read: Spectrum, true: Spectrum) -> str:
    """Return ``right``, or what is wrong with a spectrum.

    More than one point off on the axis, or another shape.
    """
    if len(read.wavenumber) != len(true.wavenumber):
        return "wrong number of points"
    step = np.abs(np.diff(true.wavenumber)).max()
    if np.abs(read.wavenumber - true.wavenumber).max() > 1.01 * step:
        return "wrong axis"
    differs = np.abs(read.intensity - true.intensity) > 1e-6 * np.ptp(true.intensity)
    covered = (
        np.any(
            [(read.wavenumber >= low) & (read.wavenumber <= high) for low, high in read.gaps],
            axis=0,
        )
        if read.gaps
        else False
    )
    return "right" if (differs & ~np.asarray(covered)).sum() <= 40 else "wrong intensities"


def attempt(file: Path, true: Spectrum) -> tuple[str, float]:
    """Read a file; return the verdict and how long it took [s]."""
    began = time.perf_counter()
    try:
        verdict = judge(read_spectrum(file), true)
    except ValueError as error:
        verdict = (
            "named error" if str(file) in str(error) else f"error without the file's name: {error}"
        )
    except Exception as error:  # what must never be
        verdict = f"{type(error).__name__}: {error}"
    return verdict, time.perf_counter() - began


def spoil(
    files: list[Path], count: int, seed: int, folder: Path
) -> tuple[Counter, list[tuple[str, str, int, Path]], float]:
    """Mutate files in turn; return verdicts, what is wrong, and the longest time [s]."""
    draw, verdicts, wrong, longest = random.Random(seed), Counter(), [], 0.0
    true = {file: read_spectrum(file) for file in files}
    for number in range(count):
        source, (name, mutate) = draw.choice(files), draw.choice(list(MUTATIONS.items()))
        file = folder / f"{number}.jdx"
        file.write_bytes(mutate(source.read_bytes(), draw))
        verdict, seconds = attempt(file, true[source])
        verdicts[verdict] += 1
        longest = max(longest, seconds)
        if verdict not in ("right", "named error"):
            wrong.append((verdict, name, number, source))
        else:
            file.unlink()
    return verdicts, wrong, longest


def main() -> None:
    """Print the count."""
    count, seed = (int(value) for value in (*sys.argv[2:4], *("2000", "1")[len(sys.argv[2:4]) :]))
    folder = Path(tempfile.mkdtemp())
    verdicts, wrong, longest = spoil(sorted(Path(sys.argv[1]).glob("*.jdx")), count, seed, folder)
    for verdict, times in verdicts.most_common():
        print(f"{times:6d}  {verdict}")
    for verdict, name, number, source in wrong:
        print(f"{verdict}: {source.name}, {name}, {folder / str(number)}.jdx")
    print(
        f"longest {longest:.2f} s, "
        f"largest {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()
