"""Photographs that lie on the user's machine: one comes with matplotlib, others with packages that may be there.

The packages are found, not imported; pictures are decoded by Pillow, which matplotlib brings.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accelsim.base.errors import ConfigError, unknown_name

MAX_PIXELS = 2**26
MAX_FILE_BYTES = 2**28


@dataclass(frozen=True)
class Photograph:
    """Where a picture lies in a package, what brings it, and whose it is."""

    module: str
    path: str
    install: str
    credit: str


_SKIMAGE, _SKLEARN = "pip install scikit-image", "pip install scikit-learn"
PHOTOGRAPHS = {
    "grace_hopper": Photograph(
        "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "pip install matplotlib",
        "Commodore Grace M. Hopper, official portrait, U.S. Navy, public domain (sample data of matplotlib)",
    ),
    "astronaut": Photograph(
        "skimage", "data/astronaut.png", _SKIMAGE, "Eileen Collins, NASA, public domain (sample data of scikit-image)"
    ),
    "chelsea": Photograph(
        "skimage", "data/chelsea.png", _SKIMAGE, "Chelsea, Stefan van der Walt, CC0 (sample data of scikit-image)"
    ),
    "coffee": Photograph(
        "skimage", "data/coffee.png", _SKIMAGE, "Rachel Michetti, CC0 (sample data of scikit-image)"
    ),
    "china": Photograph(
        "sklearn", "datasets/images/china.jpg", _SKLEARN, "Daniel Buechele, CC BY 2.0 (sample data of scikit-learn)"
    ),
    "flower": Photograph(
        "sklearn", "datasets/images/flower.jpg", _SKLEARN, "vultilion, CC BY 2.0 (sample data of scikit-learn)"
    ),
}  # fmt: skip
DEFAULT = "grace_hopper"


def package_file(module: str, relative: str, install: str) -> Path:
    """A file inside an installed package, which is not imported.

    Raises
    ------
    ConfigError
        If the package or the file is not there; says what to install.
    """
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / relative
        if path.is_file():
            return path
    raise ConfigError(f"the file {module}/{relative} is not installed: {install}")


def load_photograph(name: str | Path) -> tuple[np.ndarray, str]:
    """A photograph by its name in `PHOTOGRAPHS`, or a JPEG or PNG file.

    Returns
    -------
    image : ndarray of uint8, shape (H, W, 3)
    credit : str

    Raises
    ------
    ConfigError
        Unknown name, package not installed, or a file that is missing, too large or no picture.
    """
    known = PHOTOGRAPHS.get(str(name))
    if known is not None:
        return _decoded(package_file(known.module, known.path, known.install)), known.credit
    path = Path(name)
    if not path.is_file():
        if path.suffix:
            raise ConfigError("there is no such photograph", str(name))
        raise unknown_name("photograph", str(name), PHOTOGRAPHS)
    return _decoded(path), f"the user's file {path.name}"


def _decoded(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    where = str(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(f"a photograph must be at most {MAX_FILE_BYTES} bytes", where)
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                size = f"{picture.width} x {picture.height}"
                raise ConfigError(f"a photograph must have at most {MAX_PIXELS} pixels, got {size}", where)
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f"cannot be read as JPEG or PNG: {error}", where) from None
