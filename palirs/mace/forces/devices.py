"""Which devices there are."""

import torch

from palirs.recipes import PalirsError


def check_device(key: str, device: str) -> None:
    """Raise :class:`PalirsError` if torch cannot use the device that the setting ``key`` names.

    ``cuda:1`` on a machine with one GPU is not there either.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PalirsError(
            f"{key} = {device!r}: torch cannot use it ({str(error).splitlines()[0]}); use cpu"
        ) from error
