"""One readable log of many programs: each line with the time and the name of the part it comes from."""

from __future__ import annotations

from datetime import datetime
from typing import TextIO

COLOURS = ("36", "32", "33", "35", "34", "96", "92", "93")
RESET = "\x1b[0m"


class PartLog:
    """Writes to `stream`. `broken` turns true when nobody reads it any more."""

    def __init__(self, *, stream: TextIO, width: int, coloured: bool) -> None:
        self._stream = stream
        self._width = width
        self._coloured = coloured
        self._colour_of: dict[str, str] = {}
        self.broken = False

    def write(self, name: str, text: str) -> None:
        """Writes a line of the part `name`."""
        stamp = datetime.now().astimezone().strftime("%H:%M:%S")
        label = f"{stamp} {name:<{self._width}} |"
        if self._coloured:
            colour = self._colour_of.setdefault(name, COLOURS[len(self._colour_of) % len(COLOURS)])
            label = f"\x1b[{colour}m{label}{RESET}"
        self.plain(f"{label} {text}")

    def plain(self, text: str) -> None:
        """Writes a line as it is."""
        if self.broken:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:
            # The terminal or the reader of a pipe is gone; there is nobody left to tell.
            self.broken = True
