"""One line per thing that happened: readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

# A line break begins another entry, and an escape sequence rewrites what a terminal shows (CWE-117).
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def printable(text: str) -> str:
    """The text on one line, with its control characters spelt out."""
    return text.translate(_CONTROLS)


def _one_line(_logger: Any, _method: str, line: str) -> str:
    return printable(line)


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return printable(super().formatMessage(record))


def configure() -> None:
    """Sets up structlog and sends the standard library's loggers the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"], bool_as_flag=False
    )
    structlog.configure(
        processors=[*shared, renderer, _one_line],  # type: ignore[list-item]  # this one comes after the renderer
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    to_stderr = logging.StreamHandler(sys.stderr)
    to_stderr.setFormatter(_OneLine("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[to_stderr])
