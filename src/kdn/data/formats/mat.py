"""Files of MATLAB: version 5 by SciPy, version 7.3 by h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["h5py_module", "mat_matrix", "read_mat"]

_HINT = "MATLAB files need SciPy and h5py: pip install 'kdn[mat]'"


def read_mat(path: Path) -> dict[str, Any] | None:
    """Return the variables of a file of version 5; None of one of version 7.3.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or SciPy is not installed; the message says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError(f"{path}: {_HINT}") from None
    try:
        return loadmat(path)
    except NotImplementedError:  # how it says that the version is 7.3
        return None
    except Exception as error:  # it raises whatever a broken file runs into
        raise ValueError(f"{path}: cannot be read as a MATLAB file ({error})") from error


def mat_matrix(content: dict[str, Any] | None, path: Path, name: str) -> Any:
    """Return a variable of numbers.

    Args:
        content: What `read_mat` gave.
        path: The file, for messages.
        name: The variable.

    Raises:
        ValueError: If it is not there or holds no numbers; the message names the file.
    """
    if content is None:
        raise ValueError(f"{path}: is of MATLAB's version 7.3, expected version 5")
    value = content.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif":
        names = ", ".join(key for key in content if not key.startswith("__"))
        raise ValueError(f"{path}: has no numbers {name!r}, only {names}")
    return value


def h5py_module(path: Path) -> Any:
    """Return h5py.

    Raises:
        ValueError: If it is not installed; the message names the file and the extra.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError(f"{path}: {_HINT}") from None
    return h5py
