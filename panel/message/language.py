"""The part of Liquid that letters are written in: merge tags, a few filters and conditions.

python-liquid parses a text and evaluates its expressions; this module turns the parsed text into parts that are quick
to put together, recipient by recipient. There are no loops, no assignments, no includes and no arithmetic, so that the
time and the size of a letter are bounded by its source, and a value is only ever put in, never read as a template.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode, Literal
from liquid.builtin.expressions import FilteredExpression, Nil, Path, StringLiteral, logical, primitive
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.expression import Expression

from panel.message.filters import FILTERS, INTERNAL_FILTERS, safe_link
from panel.message.tags import is_count, nested

MAX_OUTPUT: Final = 1_000_000


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


@dataclass(frozen=True, slots=True)
class Slot:
    """A merge tag. Where it is a name with at most a literal default, no expression needs to be evaluated."""

    name: str | None
    default: str
    is_link: bool
    expression: Expression

    def named(self, flat: Mapping[str, str | None]) -> str:
        """What a slot with a name becomes, given values by their names; an empty one is a missing one."""
        text = flat.get(self.name or "") or self.default
        return safe_link(text) if self.is_link else text


@dataclass(frozen=True, slots=True)
class Branch:
    """A condition's branch. Where it only asks whether a tag has a value, no expression needs to be evaluated."""

    name: str | None
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
        if branch.name is not None:
            return bool(values.flat.get(branch.name))
        return logical.is_truthy(branch.expression.evaluate(values.context(self.template)))


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
    evaluated = Slot(name=None, default="", is_link=False, expression=expression)
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        return evaluated
    default, is_link = "", False
    for each in expression.filters or []:
        argument = each.args[0].value if len(each.args) == 1 else None
        if each.name == "default" and isinstance(argument, StringLiteral) and not is_link:
            default = default or argument.value
        elif each.name == "link":
            is_link = True
        else:
            return evaluated
    return Slot(name=str(expression.left), default=default, is_link=is_link, expression=expression)


def _branch(condition: Expression, block: BlockNode, *, is_negated: bool = False) -> Branch:
    _empty_is_missing(condition)
    asked = condition.expression if isinstance(condition, logical.BooleanExpression) else condition
    # A count is a number even when it is missing, and in Liquid every number is true.
    name = str(asked) if isinstance(asked, Path) and not is_count(str(asked)) else None
    return Branch(name, is_negated, condition, _parts(block.nodes))


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


def within(expression: Expression) -> Iterator[Expression]:
    """The expression and all that it is made of."""
    yield expression
    for child in expression.children():
        yield from within(child)
