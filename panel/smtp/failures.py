"""The table of refusals as docs/failures.md shows it: `python -m panel.smtp.failures` writes it there anew."""

from pathlib import Path
from typing import Final

from panel.smtp.codes import GENERAL
from panel.smtp.dialects import DIALECTS
from panel.smtp.outcome import Phase, Verdict
from panel.smtp.quotas import QUOTAS
from panel.smtp.rows import ANY, LETTER, TRANSACTION, Row

DOCS: Final = Path(__file__).parents[2] / "docs" / "failures.md"
BEGIN: Final = "<!-- the table: written by `python -m panel.smtp.failures` -->\n"
END: Final = "<!-- the end of the table -->\n"

_PHASES: Final = {ANY: "any", TRANSACTION: "MAIL to the final dot", LETTER: "DATA, final dot"}
_NAMES: Final = {
    Phase.MAIL: "MAIL",
    Phase.RCPT: "RCPT",
    Phase.DATA: "DATA",
    Phase.AUTH: "AUTH",
    Phase.TLS: "STARTTLS",
    Phase.HELLO: "EHLO",
    Phase.FINAL_DOT: "final dot",
}
_HEAD: Final = (
    "| # | when | code | enhanced | words | about | verdict | what it is | for instance | source |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def markdown() -> str:
    """The whole table, in the order in which it is read."""
    parts = (
        ("Sending limits", QUOTAS),
        ("What providers and servers are known to say", DIALECTS[len(QUOTAS) :]),
        ("What the codes mean by themselves", GENERAL),
    )
    text, number = "", 0
    for title, rows in parts:
        text += f"### {title}\n\n{_HEAD}"
        for row in rows:
            number += 1
            text += _line(number, row)
        text += "\n"
    return text


def _line(number: int, row: Row) -> str:
    examples = "<br>".join(f"`{_cell(example.split(' ', 1)[1])}`" for example in row.examples)
    cells = (
        str(number),
        _when(row),
        f"`{row.code}`" if row.code != "xxx" else "",
        f"`{_cell(row.enhanced)}`" if row.enhanced else "",
        f"`{_cell(row.words)}`" if row.words else "",
        str(row.about),
        _verdict(row),
        _cell(row.note),
        examples,
        _cell(row.source),
    )
    return f"| {' | '.join(cells)} |\n"


def _when(row: Row) -> str:
    return _PHASES.get(row.phases) or ", ".join(_NAMES.get(phase, str(phase)) for phase in row.phases)


def _verdict(row: Row) -> str:
    if row.renews is not None:
        return f"renews: {row.renews}"
    return {Verdict.TEMPORARY: "for now", Verdict.PERMANENT: "for good"}.get(row.verdict or Verdict.UNKNOWN, "by code")


def _cell(text: str) -> str:
    return (
        text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("`", "'").replace("|", "/")
    )


def rewritten(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown()}{END}{after}"


if __name__ == "__main__":
    DOCS.write_text(rewritten(DOCS.read_text()))
