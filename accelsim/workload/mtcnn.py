"""MTCNN's three networks on a photograph: what they get to see.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 2016: the proposal network (P) looks at every 12 x 12 window of an image pyramid,
the refinement network (R) at 24 x 24 crops of what it proposes, the output network (O) at 48 x 48 crops of
what is left. Here the cascade serves to find the crops of the most certain face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Run = Callable[[str, np.ndarray], list[np.ndarray]]
"""(network name, input) -> [box offsets, ..., probabilities]"""

WINDOW, STRIDE = 12, 2  # of the proposal network (section II.B of the paper)
PYRAMID = 0.709  # each level has half the pixels of the one before
PROPOSED, OVERLAP = 0.6, 0.5  # probability from which a window counts, and overlap from which two are one
SMALLEST = 40  # pixels of the smallest face looked for
MOST = 64  # proposals that go on to the refinement network


@dataclass(frozen=True)
class Box:
    """A square of a photograph, in pixels; it may reach beyond the edge."""

    left: float
    top: float
    side: float


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resampled (area average) and scaled to about -1 to 1; (1, W, H, 3), transposed as these networks want it."""
    from PIL import Image

    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    return np.ascontiguousarray(((pixels - 127.5) / 128).transpose(1, 0, 2)[None])


def crop(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The box as an input of `size` x `size` pixels, black beyond the edge."""
    side = max(1, int(round(box.side)))
    left, top = int(round(box.left)), int(round(box.top))
    canvas = np.zeros((side, side, 3), np.uint8)
    rows = slice(max(0, top), max(0, min(image.shape[0], top + side)))
    cols = slice(max(0, left), max(0, min(image.shape[1], left + side)))
    part = image[rows, cols]
    down, right = rows.start - top, cols.start - left
    canvas[down : down + part.shape[0], right : right + part.shape[1]] = part
    return scaled(canvas, size, size)


def level_of(image: np.ndarray, level: int) -> np.ndarray:
    """Input of the proposal network at one level of the pyramid."""
    factor = WINDOW / SMALLEST * PYRAMID**level
    return scaled(image, int(np.ceil(image.shape[1] * factor)), int(np.ceil(image.shape[0] * factor)))


def find_face(image: np.ndarray, run: Run) -> tuple[dict[str, np.ndarray], float]:
    """The inputs of the three networks that belong to the most certain face, and its probability.

    Parameters
    ----------
    image : ndarray of uint8 (H, W, 3)
    run : callable
        Runs a network.

    Returns
    -------
    inputs : dict
        `pnet`: the level of the pyramid at which the face was proposed; `rnet`, `onet`: its crops.
    probability : float
        What the output network says; 0 if nothing was proposed.
    """
    proposals = []
    level = 0
    while min(image.shape[:2]) * WINDOW / SMALLEST * PYRAMID**level >= WINDOW:
        proposals += _proposed(image, run, level)
        level += 1
    kept = _distinct(proposals)[:MOST]
    if not kept:
        return {"pnet": level_of(image, 0)}, 0.0
    crops = np.concatenate([crop(image, box, 24) for _, box, _ in kept])
    offsets, probability = run("rnet", crops)
    best = int(np.argmax(probability[:, 1]))
    _, box, at = kept[best]
    face = _moved(box, offsets[best])
    inputs: Mapping[str, np.ndarray] = {
        "pnet": level_of(image, at), "rnet": crops[best : best + 1], "onet": crop(image, face, 48),
    }  # fmt: skip
    return dict(inputs), float(run("onet", inputs["onet"])[-1][0, 1])


def _proposed(image: np.ndarray, run: Run, level: int) -> list[tuple[float, Box, int]]:
    pixels = level_of(image, level)
    offsets, probability = run("pnet", pixels)
    scale = image.shape[1] / pixels.shape[1]
    found = []
    for x, y in zip(*np.nonzero(probability[0, :, :, 1] >= PROPOSED), strict=True):
        box = Box(STRIDE * float(x) * scale, STRIDE * float(y) * scale, WINDOW * scale)
        found.append((float(probability[0, x, y, 1]), _moved(box, offsets[0, x, y]), level))
    return found


def _moved(box: Box, offsets: np.ndarray) -> Box:
    """The box with its corners moved by the network's offsets (left, top, right, bottom), squared again."""
    left, top = box.left + float(offsets[0]) * box.side, box.top + float(offsets[1]) * box.side
    right, bottom = box.left + (1 + float(offsets[2])) * box.side, box.top + (1 + float(offsets[3])) * box.side
    side = max(right - left, bottom - top)
    return Box((left + right - side) / 2, (top + bottom - side) / 2, side)


def _distinct(found: list[tuple[float, Box, int]]) -> list[tuple[float, Box, int]]:
    """Non-maximum suppression: the surest first, without those that overlap a surer one."""
    kept: list[tuple[float, Box, int]] = []
    for item in sorted(found, key=lambda f: (-f[0], f[2], f[1].left, f[1].top)):
        if all(_overlap(item[1], other[1]) < OVERLAP for other in kept):
            kept.append(item)
    return kept


def _overlap(a: Box, b: Box) -> float:
    wide = min(a.left + a.side, b.left + b.side) - max(a.left, b.left)
    high = min(a.top + a.side, b.top + b.side) - max(a.top, b.top)
    shared = max(0.0, wide) * max(0.0, high)
    return shared / (a.side**2 + b.side**2 - shared)
