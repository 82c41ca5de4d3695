"""Letters on radiographs: of lead beside the leg, and of one grey value in the corners, as software burns them in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View

#: Seven rows of five dots each.
_LETTERS = {
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
    "A": (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "P": ("####.", "#...#", "#...#", "####.", "#....", "#....", "#...."),
    "2": (".###.", "#...#", "....#", "..##.", ".#...", "#....", "#####"),
}
_LEAD_HEIGHT_MM, _TEXT_HEIGHT_MM = 20.0, 6.0
#: Line integral of the lead of a side letter.
_LEAD = 2.5


def glyph(letter: str, height_pixels: int) -> NDArray[np.bool_]:
    """[row, column] of a letter of that height."""
    dots = np.array([[dot == "#" for dot in row] for row in _LETTERS[letter]])
    scale = max(1, height_pixels // 7)
    return np.kron(dots, np.ones((scale, scale), dtype=bool))


def with_letters(
    line_integrals: NDArray[np.float32], view: View, count: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """The image with a lead letter a side and `count` lines of burned-in text in its corners, [row, column]."""
    image = line_integrals.copy()
    rows, columns = image.shape
    lead = glyph(str(generator.choice(["R", "L"])), round(_LEAD_HEIGHT_MM / view.pixel_spacing[0]))
    top = int(generator.integers(rows // 6, rows - rows // 6 - lead.shape[0]))
    left = int(columns * 0.12) if generator.random() < 0.5 else int(columns * 0.88) - lead.shape[1]
    image[top : top + lead.shape[0], left : left + lead.shape[1]] += _LEAD * lead
    value = float(image.max())
    height = round(_TEXT_HEIGHT_MM / view.pixel_spacing[0])
    for line in range(count):
        place = int(0.02 * columns)
        at = (
            int(0.03 * rows) + (line // 2) * 2 * height
            if line % 2 == 0
            else rows - int(0.03 * rows) - (line // 2 + 1) * 2 * height
        )
        for letter in generator.choice(list(_LETTERS), size=8):
            shape = glyph(str(letter), height)
            image[at : at + shape.shape[0], place : place + shape.shape[1]][shape] = value
            place += shape.shape[1] + 2
    return image
