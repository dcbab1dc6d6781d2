"""Which constraint may replace which in a delegated token (AAT draft, Sections 4.5 and 5.1).

A row of `NARROWING` is (parent type, child type) and the condition under which the parent admits
everything the child does. A pair that is not listed is refused, so the table is the whole truth;
`wildcard` alone, which admits everything, stands outside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from remit.constraints.basic import Anything, Exact, NotOneOf, OneOf, Range
from remit.constraints.nested import AllOf, AnyOf, Contains, Each, Fields, Subset
from remit.constraints.text import Cidr, Email, MaxLength, Path, Prefix, Url

if TYPE_CHECKING:
    from collections.abc import Callable

    from remit.constraints.base import Constraint

__all__ = ["NARROWING", "is_narrower"]


def is_narrower(parent: Constraint, child: Constraint) -> bool:
    """Tell whether the table knows `parent` to admit everything that `child` admits."""
    if type(parent) is Anything:
        return True
    rule = NARROWING.get((type(parent), type(child)))
    return rule is not None and rule(parent, child)


def _admits_value(parent: Constraint, child: Exact) -> bool:
    return parent.check(child.value)


def _admits_values(parent: Constraint, child: OneOf) -> bool:
    return all(map(parent.check, child.values))


def _each_parent_clause_has_a_narrower(parent: AllOf, child: AllOf) -> bool:
    return all(any(is_narrower(p, c) for c in child.clauses) for p in parent.clauses)


def _each_child_clause_is_narrower(parent: AnyOf, child: AnyOf) -> bool:
    return all(any(is_narrower(p, c) for p in parent.clauses) for c in child.clauses)


def _admits_elements(parent: Each, child: Subset) -> bool:
    return all(map(parent.constraint.check, child.values))


def _fields_narrower(parent: Fields, child: Fields) -> bool:
    return parent.required <= child.required and all(
        name in parent.fields and is_narrower(parent.fields[name], field)
        for name, field in child.fields.items()
    )


NARROWING: Final[dict[tuple[type[Constraint], type[Constraint]], Callable[[Any, Any], bool]]] = {
    # The draft's own pairs.
    (Exact, Exact): _admits_value,
    (Range, Range): Range.contains_range,
    (Range, Exact): _admits_value,
    (OneOf, OneOf): lambda parent, child: child.keys <= parent.keys,
    (OneOf, Exact): _admits_value,
    (NotOneOf, NotOneOf): lambda parent, child: child.keys >= parent.keys,
    (Contains, Contains): lambda parent, child: child.keys >= parent.keys,
    (Subset, Subset): lambda parent, child: child.keys <= parent.keys,
    (AllOf, AllOf): _each_parent_clause_has_a_narrower,
    (AnyOf, AnyOf): _each_child_clause_is_narrower,
    # Remit's types under themselves ...
    (Path, Path): lambda parent, child: parent.check(child.root),
    (Url, Url): Url.contains_url,
    (Email, Email): lambda parent, child: child.domain == parent.domain,
    (Cidr, Cidr): Cidr.contains_network,
    (Prefix, Prefix): lambda parent, child: child.prefix.startswith(parent.prefix),
    (MaxLength, MaxLength): lambda parent, child: child.maximum <= parent.maximum,
    (Each, Each): lambda parent, child: is_narrower(parent.constraint, child.constraint),
    (Fields, Fields): _fields_narrower,
    # ... and values listed one by one, each of which the parent can look at.
    **{(kind, Exact): _admits_value for kind in (Path, Url, Email, Cidr, Prefix, MaxLength)},
    **{(kind, OneOf): _admits_values for kind in (Path, Url, Email, Cidr, Prefix, MaxLength, Each, Fields)},
    (Each, Subset): _admits_elements,
}
