"""One picture from its file, decoded as the line decodes it."""

from pathlib import Path

from processors.decoding import decode_bgr
from processors.learned.form import Picture


def read_picture(path: Path) -> Picture | None:
    """uint8 [h, w, 3], blue first, as the line decodes it; None for what does not decode, or is not there."""
    try:
        return decode_bgr(path.read_bytes())
    except (OSError, ValueError):
        return None
