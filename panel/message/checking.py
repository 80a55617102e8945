"""What is wrong with a source that a person wrote, in plain words, by line: asked when a notification is saved.

Everything is bounded before anything is parsed, so that a hostile source is refused as quickly as a mistyped one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final

from liquid import RenderContext
from liquid.builtin.expressions import FilteredExpression, Nil, Path, StringLiteral, logical, primitive
from liquid.exceptions import LiquidError
from liquid.expression import Expression

from panel.message.filters import FILTERS
from panel.message.language import Values, parse, within
from panel.message.tags import TAGS, sample_values

MAX_MARKS: Final = 300
MAX_MARK_LENGTH: Final = 300
MAX_DEPTH: Final = 10
MAX_FAULTS: Final = 20

_MARK_START = re.compile(r"\{\{|\{%")
_WORD = re.compile(r"\{%-?\s*(\w+)")
_CLOSERS: Final = {"if": "endif", "unless": "endunless"}
_WORDS: Final = frozenset({"if", "unless", "elsif", "else", "endif", "endunless"})

# What may stand inside a merge tag or a condition. Ranges and floating-point numbers, for example, may not.
_EXPRESSIONS: Final = (
    FilteredExpression,
    Path,
    Nil,
    StringLiteral,
    primitive.IntegerLiteral,
    primitive.TrueLiteral,
    primitive.FalseLiteral,
    primitive.Empty,
    primitive.Blank,
    logical.BooleanExpression,
    logical.LogicalAndExpression,
    logical.LogicalOrExpression,
    logical.EqExpression,
    logical.NeExpression,
    logical.LtExpression,
    logical.LeExpression,
    logical.GtExpression,
    logical.GeExpression,
    logical.ContainsExpression,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One `{{ … }}` or `{% … %}` of a source: where it stands, and its word if it is a condition's."""

    start: int
    end: int
    text: str
    word: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a source: the line (from 1), the mark it is about (or nothing), and what is wrong."""

    line: int
    tag: str
    message: str


def scan(source: str) -> tuple[list[Mark], list[Fault]]:
    """Find the marks of a source, in one pass, and what is wrong with the way they open and close."""
    marks: list[Mark] = []
    position = 0
    while opening := _MARK_START.search(source, position):
        closer = "}}" if opening[0] == "{{" else "%}"
        closing = source.find(closer, opening.end())
        position = closing + len(closer)
        text = source[opening.start() : position if closing >= 0 else None]
        if message := _fault_of_extent(text, closer, is_closed=closing >= 0, so_far=len(marks)):
            return marks, [Fault(line_of(source, opening.start()), _shown(text), message)]
        word = _WORD.match(text)
        marks.append(Mark(opening.start(), position, text, None if closer == "}}" else word[1] if word else ""))
    return marks, _faults_of_marks(source, marks)


def _fault_of_extent(text: str, closer: str, *, is_closed: bool, so_far: int) -> str | None:
    if not is_closed:
        return f"This is never closed: {closer} is missing."
    if len(text) > MAX_MARK_LENGTH:
        return f"This is longer than {MAX_MARK_LENGTH} characters. Is {closer} missing?"
    if so_far == MAX_MARKS:
        return f"A letter may hold at most {MAX_MARKS} merge tags and conditions."
    return None


def _faults_of_marks(source: str, marks: Sequence[Mark]) -> list[Fault]:
    """Unknown words, empty tags, and conditions that do not open and close in pairs."""
    faults: list[Fault] = []
    open_marks: list[Mark] = []
    with_else: set[Mark] = set()
    for mark in marks:
        if message := _fault_of_mark(mark, open_marks):
            faults.append(Fault(line_of(source, mark.start), mark.text, message))
        if mark.word in _CLOSERS:
            open_marks.append(mark)
        elif mark.word in _CLOSERS.values() and open_marks:
            open_marks.pop()
        elif mark.word in {"else", "elsif"} and open_marks:
            if open_marks[-1] in with_else:
                faults.append(Fault(line_of(source, mark.start), mark.text, "This comes after the condition's else."))
            if mark.word == "else":
                with_else.add(open_marks[-1])
    for mark in open_marks:
        message = f"This condition is never closed: {{% {_CLOSERS[mark.word or '']} %}} is missing."
        faults.append(Fault(line_of(source, mark.start), mark.text, message))
    return faults


def _fault_of_mark(mark: Mark, open_marks: Sequence[Mark]) -> str | None:
    word = mark.word
    if word is None:
        return None if mark.text.strip("{}- \t\r\n") else "This merge tag is empty."
    if word not in _WORDS:
        return "Only conditions can be used like this: if, unless, elsif, else, and endif or endunless at their end."
    if word in _CLOSERS:
        return f"Conditions stand in one another more than {MAX_DEPTH} deep." if len(open_marks) == MAX_DEPTH else None
    if not open_marks:
        return "There is no condition open here that this could belong to."
    if word in _CLOSERS.values() and word != _CLOSERS[open_marks[-1].word or ""]:
        return f"Here {{% {_CLOSERS[open_marks[-1].word or '']} %}} is expected, to close {open_marks[-1].text}."
    return None


def check(source: str, *, allowed: frozenset[str]) -> list[Fault]:
    """What is wrong with a source; nothing in the list means that `parse` will take it.

    `allowed` are the merge tags that can be filled here.
    """
    marks, faults = scan(source)
    if faults:
        return faults[:MAX_FAULTS]
    try:
        program = parse(source)
    except LiquidError as error:
        position = error.token.start_index if error.token else 0
        return [_fault_at(source, marks, position, f"This cannot be understood ({error.message}).")]
    contexts = [Values(flat).context(program.template) for flat in (sample_values(), {})]
    checker = _Checker(allowed, contexts)
    found = ((root.token.start_index, message) for root in program.roots() for message in checker.messages(root))
    return [_fault_at(source, marks, position, message) for position, message in islice(found, MAX_FAULTS)]


def line_of(source: str, position: int) -> int:
    """The line, counted from 1, on which a position of the source stands."""
    return source.count("\n", 0, position) + 1


def _fault_at(source: str, marks: Sequence[Mark], position: int, message: str) -> Fault:
    tag = next((mark.text for mark in marks if mark.start <= position < mark.end), "")
    return Fault(line_of(source, position), tag, message)


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


@dataclass(frozen=True, slots=True)
class _Checker:
    """Checks expressions, one by one."""

    allowed: frozenset[str]
    contexts: Sequence[RenderContext]

    def messages(self, root: Expression) -> list[str]:
        """What is wrong with a merge tag or with a condition."""
        messages = [message for node in within(root) for message in self._messages(node)]
        if isinstance(root, FilteredExpression) and not isinstance(root.left, Path):
            messages.append("Only a merge tag can stand here.")
        if not messages and not self._can_be_evaluated(root):
            messages.append("This compares or changes a value in a way that its kind does not allow.")
        return messages

    def _messages(self, node: Expression) -> Iterator[str]:
        if not isinstance(node, _EXPRESSIONS):
            yield f"“{_shown(str(node))}” cannot be used in a letter."
        elif isinstance(node, Path):
            if message := self._about_tag(str(node)):
                yield message
        elif isinstance(node, FilteredExpression):
            for each in node.filters or []:
                if each.name not in FILTERS:
                    yield f"There is no filter “{_shown(each.name)}”. There are: {', '.join(FILTERS)}."
                elif each.name != "default" and any(isinstance(argument.value, Path) for argument in each.args):
                    yield f"The filter “{each.name}” takes a plain text or number, not a merge tag."

    def _about_tag(self, name: str) -> str | None:
        if name in self.allowed:
            return None
        if name in TAGS:
            return f"“{name}” is not known when this email is sent, so it cannot be used here."
        close = get_close_matches(name, self.allowed, n=1)
        return f"There is no merge tag “{_shown(name)}”." + (f" Did you mean “{close[0]}”?" if close else "")

    def _can_be_evaluated(self, root: Expression) -> bool:
        """Try every part of the expression with all values and with none: what goes wrong, goes wrong on saving."""
        try:
            for node in within(root):
                for context in self.contexts:
                    node.evaluate(context)
        except LiquidError:
            return False
        return True
