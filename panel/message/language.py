"""The part of Liquid that letters are written in: merge tags, a few filters and conditions.

python-liquid parses a text and evaluates its expressions; this module turns the parsed text into parts that are quick
to put together, recipient by recipient. There are no loops, no assignments, no includes and no arithmetic, so that the
time and the size of a letter are bounded by its source, and a value is only ever put in, never read as a template.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode, Literal
from liquid.builtin.expressions import (
    FilteredExpression,
    Nil,
    Path,
    PositionalArgument,
    StringLiteral,
    logical,
    primitive,
)
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.exceptions import LiquidError
from liquid.expression import Expression

from panel.message.filters import FILTERS, INTERNAL_FILTERS
from panel.message.tags import TAGS, count_of, is_count, nested

MAX_OUTPUT: Final = 1_000_000
_LONG: Final = 10_000


class TooLarge(Exception):
    """A text with its values put in is longer than any letter should be."""


def _environment() -> Environment:
    env = Environment()
    env.tags.clear()
    for tag in (Literal, Output, Illegal, IfTag, UnlessTag):
        env.add_tag(tag)
    env.filters.clear()
    for name, function in (FILTERS | INTERNAL_FILTERS).items():
        env.add_filter(name, function)
    return env


_ENV: Final = _environment()

_COMPARISONS: Final[Mapping[type[Expression], Callable[[int, int], bool]]] = {
    logical.EqExpression: operator.eq,
    logical.NeExpression: operator.ne,
    logical.LtExpression: operator.lt,
    logical.LeExpression: operator.le,
    logical.GtExpression: operator.gt,
    logical.GeExpression: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A filter of a slot with a name, and its arguments."""

    function: Callable[..., str]
    arguments: tuple[str | int, ...]

    def of(self, text: str, _values: Mapping[str, str | None]) -> str:
        """What the filter makes of a value."""
        return self.function(text, *self.arguments)


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The default of a slot with a name that is another tag."""

    name: str

    def of(self, text: str, values: Mapping[str, str | None]) -> str:
        """The value, or the other tag's if it is empty."""
        return text or values.get(self.name) or ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A merge tag. With a name no expression needs to be evaluated: its value, or the default, and then the steps."""

    name: str | None
    default: str
    steps: tuple[Step | Otherwise, ...]
    expression: Expression

    def named(self, flat: Mapping[str, str | None]) -> str:
        """What a slot with a name becomes, given values by their names; an empty one is a missing one."""
        text = flat.get(self.name or "") or self.default
        for step in self.steps:
            text = step.of(text, flat)
        return text


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition that compares a count with a number."""

    name: str
    compare: Callable[[int, int], bool]
    number: int


Asks = str | Comparison


@dataclass(frozen=True, slots=True)
class Branch:
    """A condition's branch. Where it only asks whether a tag has a value, by its name, or compares a count with a
    number, no expression needs to be evaluated."""

    asks: Asks | None
    is_negated: bool
    expression: Expression
    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """A condition: the parts of the first branch that holds, else the last ones."""

    branches: tuple[Branch, ...]
    otherwise: "tuple[Part, ...]"


Part = str | Slot | Choice


@dataclass(slots=True)
class Values:
    """The values of one letter, shared by its subject and both bodies: flat, and as Liquid wants them if need be."""

    flat: Mapping[str, str]
    _context: RenderContext | None = field(default=None, repr=False)

    def context(self, template: BoundTemplate) -> RenderContext:
        """The values for evaluating expressions; made when the first expression needs it."""
        if self._context is None:
            self._context = RenderContext(template, globals=nested(self.flat))
        return self._context


@dataclass(frozen=True, slots=True)
class Program:
    """A source that was parsed once, to be run for many recipients."""

    template: BoundTemplate
    parts: tuple[Part, ...]

    @property
    def tags_used(self) -> frozenset[str]:
        """The names of all merge tags, in conditions and as defaults too."""
        found = (node for root in self.roots() for node in within(root))
        return frozenset(str(node) for node in found if isinstance(node, Path))

    def roots(self) -> Iterator[Expression]:
        """Every expression of the source: those of merge tags and those of conditions."""
        return _roots(self.parts)

    def asks(self) -> Iterator[Asks | None]:
        """Every condition, or nothing in the place of one that needs evaluation."""
        return _all_asks(self.parts)

    def decided(self, values: Values) -> "Program":
        """The program without conditions that does the same wherever they hold, or do not, as with these values."""
        return Program(self.template, tuple(self._decided(self.parts, values)))

    def _decided(self, parts: Sequence[Part], values: Values) -> Iterator[Part]:
        for part in parts:
            if isinstance(part, Choice):
                yield from self._decided(self._chosen(part, values), values)
            else:
                yield part

    def run(self, values: Values, *, escape: Callable[[str], str] | None = None) -> str:
        """Put the values in, each one escaped. Raises TooLarge."""
        text = self.fill(self.parts, values, escape=escape)
        check_length(len(text))
        return text

    def fill(self, parts: Sequence[Part], values: Values, *, escape: Callable[[str], str] | None = None) -> str:
        """Put the values into some of the parts, each value escaped."""
        out: list[str] = []
        self._run(parts, values, escape, out)
        return "".join(out)

    def _run(self, parts: Sequence[Part], values: Values, escape: Callable[[str], str] | None, out: list[str]) -> None:
        for part in parts:
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, Slot):
                value = self._value(part, values)
                out.append(escape(value) if escape else value)
                if len(value) > _LONG:  # many of them would fill the memory before anybody looks at the whole
                    check_length(sum(map(len, out)))
            else:
                self._run(self._chosen(part, values), values, escape, out)

    def _value(self, slot: Slot, values: Values) -> str:
        if slot.name is not None:
            return slot.named(values.flat)
        value = slot.expression.evaluate(values.context(self.template))
        return "" if value is None else str(value)

    def _chosen(self, choice: Choice, values: Values) -> tuple[Part, ...]:
        for branch in choice.branches:
            if self._holds(branch, values) != branch.is_negated:
                return branch.parts
        return choice.otherwise

    def _holds(self, branch: Branch, values: Values) -> bool:
        if branch.asks is not None:
            return holds(branch.asks, values.flat)
        return logical.is_truthy(branch.expression.evaluate(values.context(self.template)))


def holds(asks: Asks, flat: Mapping[str, str | None]) -> bool:
    """Whether a condition that needs no evaluation holds."""
    if isinstance(asks, str):
        return bool(flat.get(asks))
    return asks.compare(count_of(flat.get(asks.name)), asks.number)


def check_length(length: int) -> None:
    """Raise TooLarge for a text of more characters than a letter should have."""
    if length > MAX_OUTPUT:
        raise TooLarge(f"The letter is {length:,} characters long; at most {MAX_OUTPUT:,} are sent.")


def parse(source: str) -> Program:
    """Parse a source that `check` found nothing wrong with. Raises liquid's LiquidError otherwise."""
    template = _ENV.from_string(source)
    return Program(template, _parts(template.nodes))


def _parts(nodes: Sequence[Node]) -> tuple[Part, ...]:
    return tuple(_part(node) for node in nodes)


def _part(node: Node) -> Part:
    match node:
        case ContentNode():
            return node.text
        case OutputNode():
            return _slot(node.expression)
        case IfNode() | UnlessNode():
            first = _branch(node.condition, node.consequence, is_negated=isinstance(node, UnlessNode))
            others = (_branch(other.expression, other.block) for other in node.alternatives)
            return Choice((first, *others), _parts(node.default.nodes) if node.default else ())
    raise TypeError(f"unexpected {type(node).__name__}")


def _slot(expression: Expression) -> Slot:
    evaluated = Slot(name=None, default="", steps=(), expression=expression)
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        return evaluated
    name, default = str(expression.left), ""
    steps: list[Step | Otherwise] = []
    for each in expression.filters or []:
        step = _step(each)
        if step is None:
            return evaluated
        if isinstance(step, Step) and step.function is FILTERS["default"] and not steps:
            default = default or str(step.arguments[0])
        else:
            steps.append(step)
    if is_count(name) and steps:
        return evaluated  # to a filter, a count is a number, and a missing one is zero
    return Slot(name=name, default=default, steps=tuple(steps), expression=expression)


def _step(each: Filter) -> Step | Otherwise | None:
    """A filter that needs no evaluation: its arguments are literals, or it is a default that is another tag."""
    values = [argument.value for argument in each.args if isinstance(argument, PositionalArgument)]
    if each.name == "default" and len(each.args) == len(values) == 1 and isinstance(values[0], Path):
        other = str(values[0])
        return Otherwise(other) if other in TAGS and not is_count(other) else None
    literals = tuple(value.value for value in values if isinstance(value, StringLiteral | primitive.IntegerLiteral))
    function = (FILTERS | INTERNAL_FILTERS).get(each.name)
    if function is None or len(literals) < len(each.args) or (each.name == "default" and len(literals) != 1):
        return None
    try:
        function("", *literals)
    except (LiquidError, TypeError):
        return None  # that is for Liquid to complain about
    return Step(function, literals)


def _branch(condition: Expression, block: BlockNode, *, is_negated: bool = False) -> Branch:
    _empty_is_missing(condition)
    asked = condition.expression if isinstance(condition, logical.BooleanExpression) else condition
    return Branch(_asks(asked), is_negated, condition, _parts(block.nodes))


def _asks(asked: Expression) -> Asks | None:
    if isinstance(asked, Path):
        # A count is a number even when it is missing, and in Liquid every number is true.
        return None if is_count(str(asked)) else str(asked)
    compare = _COMPARISONS.get(type(asked))
    if compare is None:
        return None
    left, right = asked.children()
    if isinstance(left, Path) and is_count(str(left)) and isinstance(right, primitive.IntegerLiteral):
        return Comparison(str(left), compare, right.value)
    return None


def _empty_is_missing(condition: Expression) -> None:
    """Let `== blank`, `== empty` and `== ""` ask whether a value is missing, as an empty value is the same to us."""
    for node in within(condition):
        if isinstance(node, logical.EqExpression | logical.NeExpression):
            node.left, node.right = (
                Nil(side.token) if isinstance(side, primitive.Blank | primitive.Empty) or _is_empty(side) else side
                for side in (node.left, node.right)
            )


def _is_empty(side: Expression) -> bool:
    return isinstance(side, StringLiteral) and not side.value


def _roots(parts: Sequence[Part]) -> Iterator[Expression]:
    for part in parts:
        if isinstance(part, Slot):
            yield part.expression
        elif isinstance(part, Choice):
            for branch in part.branches:
                yield branch.expression
                yield from _roots(branch.parts)
            yield from _roots(part.otherwise)


def _all_asks(parts: Sequence[Part]) -> Iterator[Asks | None]:
    for part in parts:
        if isinstance(part, Choice):
            for branch in part.branches:
                yield branch.asks
                yield from _all_asks(branch.parts)
            yield from _all_asks(part.otherwise)


def within(expression: Expression) -> Iterator[Expression]:
    """The expression and all that it is made of."""
    yield expression
    for child in expression.children():
        yield from within(child)
