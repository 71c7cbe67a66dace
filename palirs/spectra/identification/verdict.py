"""What the similarities of candidates to a record mean, in words."""

from collections.abc import Sequence

from palirs.spectra.identification.matching import Match

MEASURED_ON = "docs/results/identify.md tells how often that is wrong"


def alike(matches: Sequence[Match]) -> list[Match]:
    """Return the candidates that cannot be told from the first, without it."""
    return [match for match in matches[1:] if matches[0].is_like(match)]


def fits(match: Match, least: float) -> bool:
    """Tell whether a candidate is similar enough to be the molecule of the record."""
    return match.similarity >= least


def in_words(matches: Sequence[Match], least: float) -> list[str]:
    """Return sentences: which candidate fits, or that none does, and which cannot be told apart.

    Parameters
    ----------
    matches : sequence of Match
        The most similar first.
    least : float
        Similarity below which a candidate does not fit.
    """
    if not matches:
        return ["There is no candidate with a spectrum."]
    first, others = matches[0], alike(matches)
    among = f"{len(matches)} candidates" if len(matches) > 1 else "one candidate"
    bound = (
        f"Its factor of the wavenumbers, {first.scale:.3f}, is a bound of task.scale: another one "
        "may be better still, which speaks against this molecule or for wider bounds."
    )
    bounds = [bound] if first.at_bound else []
    if not fits(first, least):
        return [
            f"None of the {among} fits: the most similar, {first.name}, has {_number(first)}, and "
            f"one that fits has at least {least:.2f} ({MEASURED_ON})."
            if len(matches) > 1
            else f"The one candidate, {first.name}, does not fit: {_number(first)}, and one that "
            f"fits has at least {least:.2f} ({MEASURED_ON}).",
            *bounds,
        ]
    sentences = [
        f"{first.name} is the most similar of {among}: {_number(first)}, wavenumbers times "
        f"{first.scale:.3f} ({first.scale_interval[0]:.3f} to {first.scale_interval[1]:.3f}).",
        *bounds,
    ]
    if first.interval[0] < least:
        sentences.append(
            f"Whether it fits is not sure: its interval reaches below {least:.2f}, the least "
            f"similarity of a candidate that fits ({MEASURED_ON})."
        )
    for other in others:
        difference, low, high = first.ahead(other)
        sentences.append(
            f"{other.name} cannot be told from it: less similar by {difference:.3f} ({low:.3f} to "
            f"{high:.3f})."
        )
    if len(matches) > 1 and not others:
        difference, low, high = first.ahead(matches[1])
        sentences.append(
            f"All others can be told from it; the nearest, {matches[1].name}, is less similar by "
            f"{difference:.3f} ({low:.3f} to {high:.3f})."
        )
    return sentences


def heading(matches: Sequence[Match], record: str, least: float) -> str:
    """Return the result in a line."""
    first, others = matches[0], [match.name for match in alike(matches)]
    if not fits(first, least):
        return f"Record “{record}”: no candidate fits"
    if not others:
        return f"Record “{record}”: {first.name}"
    more = f" or {len(others) - 1} others" if len(others) > 2 else ""
    names = [first.name, *others[: 1 if more else 2]]
    return f"Record “{record}”: {' or '.join(names)}{more}"


def rows(matches: Sequence[Match]) -> list[dict[str, object]]:
    """Return a table of the matches, the most similar first."""
    table = []
    for rank, match in enumerate(matches, start=1):
        behind, least, most = matches[0].ahead(match)
        row: dict[str, object] = {
            "rank": rank,
            "candidate": match.name,
            "similarity": match.similarity,
            "similarity_low": match.interval[0],
            "similarity_high": match.interval[1],
            "scale": match.scale,
            "scale_low": match.scale_interval[0],
            "scale_high": match.scale_interval[1],
            "pearson": match.pearson,
        }
        if rank > 1:
            row |= {"behind_first": behind, "behind_low": least, "behind_high": most}
            row["told_from_first"] = "no" if matches[0].is_like(match) else "yes"
        table.append(row)
    return table


def table(matches: Sequence[Match]) -> list[str]:
    """Return lines for a terminal: rank, name, similarity, factor of the wavenumbers."""
    width = max((len(match.name) for match in matches), default=0)
    lines = [
        f"{rank:3d}. {match.name:{width}}  {_number(match)}  × {match.scale:.3f}"
        for rank, match in enumerate(matches, start=1)
    ]
    return [f"     {'candidate':{width}}  similarity (5 to 95 %)  wavenumbers", *lines]


def _number(match: Match) -> str:
    low, high = match.interval
    return f"{match.similarity:.3f} ({low:.3f} to {high:.3f})"
