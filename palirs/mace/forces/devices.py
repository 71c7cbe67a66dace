"""Checks of devices and of their memory."""

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


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one it came from, says that the memory is full.

    TorchScript and CUDA graphs give it no type of its own.
    """
    if error is None:
        return False
    is_typed = isinstance(error, torch.OutOfMemoryError)
    return is_typed or "out of memory" in str(error) or is_out_of_memory(error.__context__)
