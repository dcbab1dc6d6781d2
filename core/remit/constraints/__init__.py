"""Constraints: predicates on one argument, and when one is narrower than another.

Nine types are the AAT draft's (Section 3.4), eight are Remit's. `registry` lists them all, and
`narrowing` is the table of which may replace which in a delegated token.
"""

from remit.constraints.base import MAX_DEPTH, MAX_NODES, Constraint, Scalar
from remit.constraints.basic import Anything, Exact, NotOneOf, OneOf, Range
from remit.constraints.nested import AllOf, AnyOf, Contains, Each, Fields, Subset
from remit.constraints.registry import CONSTRAINT_TYPES, parse_constraint
from remit.constraints.text import Cidr, Email, MaxLength, Path, Prefix, Url

__all__ = [
    "CONSTRAINT_TYPES",
    "MAX_DEPTH",
    "MAX_NODES",
    "AllOf",
    "AnyOf",
    "Anything",
    "Cidr",
    "Constraint",
    "Contains",
    "Each",
    "Email",
    "Exact",
    "Fields",
    "MaxLength",
    "NotOneOf",
    "OneOf",
    "Path",
    "Prefix",
    "Range",
    "Scalar",
    "Subset",
    "Url",
    "parse_constraint",
]
