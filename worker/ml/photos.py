"""The preset ``photo``: a whole picture, grey or in colour, as a network's canvas."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import UnusableImage

Pixels = NDArray[np.uint8]


def letterbox(pixels: Pixels, height: int, width: int) -> Pixels:
    """Fit a picture (h, w) or (h, w, 3) into a canvas of (height, width) or (height, width, 3), its shape kept.

    With s = min(height / h, width / w) it is resized to max(1, round(h s)) x max(1, round(w s)), by INTER_AREA for
    s < 1 and INTER_LINEAR otherwise, and placed at row (height - rows) // 2 and column (width - columns) // 2. The
    rest of the canvas repeats the picture's nearest edge pixel: bars of one colour would be an edge that the picture
    does not have. A stretch to the canvas would lose the proportions, which often tell two things apart.

    Pixels keep their values: whether brightness or colour may tell things apart is for the training to find out.
    Raises UnusableImage with code image_blank if all pixels are alike.
    """
    if (pixels == pixels[:1, :1]).all():
        raise UnusableImage("image_blank", "The image is of a single colour: there is nothing to compare.")
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    rows, columns = max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = cv2.resize(pixels, (columns, rows), interpolation=method)
    top, left = (height - rows) // 2, (width - columns) // 2
    bottom, right = height - rows - top, width - columns - left
    return np.asarray(cv2.copyMakeBorder(fitted, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)
