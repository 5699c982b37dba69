"""One form for filters that say the same: simpler, sorted, without repetition or contradiction.

Two-valued logic allows De Morgan's laws, so ``or`` is simplified as the negation of an ``and`` of
negations. It does not allow to rewrite ``not <`` as ``>=``: a missing field is neither.
"""

from __future__ import annotations

from typing import Any, Literal

from snorky.filters.nodes import FALSE, TRUE, Group, Leaf, Node, node_text, one_of
from snorky.filters.values import NULL, TEXT, Constant, text_of


def canonicalised(node: Node) -> tuple[Node, str]:
    """The canonical form of a node, and its text."""
    if isinstance(node, Leaf):
        return node, node_text(node)
    operator = node.operator
    texts: dict[int, str] = {}
    parts: list[Node] = []
    for part in node.parts:
        if isinstance(part, Leaf):
            parts.append(part)
            continue
        inner, text = canonicalised(part)
        if isinstance(inner, Group) and inner.operator == operator:
            parts += inner.parts
        else:
            texts[id(inner)] = text
            parts.append(inner)
    if _nothing_to_simplify(operator, parts):
        return _sorted_group(operator, parts, texts)
    if operator == "and":
        return _conjunction(parts)
    result = _negated(_conjunction([_negated(part) for part in parts])[0])
    return result, node_text(result)


def holds(leaf: Leaf, constant: Constant) -> bool:
    """Whether the leaf is true where its field is present and holds ``constant``."""
    name, _, value, positive = leaf
    kind, actual = constant
    if name == "==":
        result = constant == value
    elif name == "!=":
        result = constant != value
    elif name == "in":
        result = constant in value
    elif name == "isnull":
        result = constant == NULL
    elif kind != value[0]:
        result = False
    elif name == "startswith":
        result = actual.startswith(value[1])
    else:
        result = _compare(name, actual, value[1])
    return result is positive


def _compare(name: str, one: Any, other: Any) -> bool:
    if name == "<":
        return bool(one < other)
    if name == "<=":
        return bool(one <= other)
    return bool(one > other) if name == ">" else bool(one >= other)


def _negated(node: Node) -> Node:
    if isinstance(node, Leaf):
        return node._replace(positive=not node.positive)
    parts = {node_text(part): part for part in map(_negated, node.parts)}
    return Group(
        "or" if node.operator == "and" else "and", tuple(parts[text] for text in sorted(parts))
    )


def _conjunction(parts: list[Node]) -> tuple[Node, str]:
    """All of ``parts``, which are canonical themselves and no ``and``; and its text."""
    groups: list[Node] = []
    by_field: dict[str, list[Leaf]] = {}
    for part in parts:
        if isinstance(part, Leaf):
            by_field.setdefault(part.field, []).append(part)
        elif part == FALSE:
            return FALSE, node_text(FALSE)
        else:
            groups.append(part)
    for leaves in by_field.values():
        if len(leaves) > 1:
            merged = _merged(leaves)
            if merged is None:
                return FALSE, node_text(FALSE)
            groups += merged
        else:
            groups += leaves
    return _sorted_group("and", groups, {})


def _nothing_to_simplify(operator: Literal["and", "or"], parts: list[Node]) -> bool:
    """Whether no two parts say something of one field, and none says all that there is to say."""
    fields = [part.field for part in parts if isinstance(part, Leaf)]
    return len(set(fields)) == len(fields) and (FALSE if operator == "and" else TRUE) not in parts


def _sorted_group(
    operator: Literal["and", "or"], parts: list[Node], texts: dict[int, str]
) -> tuple[Node, str]:
    """``texts``: those that are known, by the identity of the part."""
    by_text = {texts.get(id(part)) or node_text(part): part for part in parts}
    sorted_texts = sorted(by_text)
    if len(sorted_texts) == 1:
        return by_text[sorted_texts[0]], sorted_texts[0]
    text = "".join([f",{text}" for text in sorted_texts])
    group = Group(operator, tuple([by_text[text] for text in sorted_texts]))
    return group, f'["{operator}"{text}]'


def _merged(leaves: list[Leaf]) -> list[Leaf] | None:
    """What leaves of one field say together; None where nothing can satisfy them."""
    if len(leaves) == 2 and _are_an_interval(*leaves):
        return leaves
    one_of_these = [leaf for leaf in leaves if leaf.positive and leaf.operator in ("==", "in")]
    if one_of_these:
        return _chosen(one_of_these, leaves)
    kept = _without_negated_values(leaves)
    if len({leaf.positive for leaf in kept}) == 2:
        texts = {node_text(leaf) for leaf in kept}
        if any(node_text(_opposite(leaf)) in texts for leaf in kept):
            return None
    bounds = _tightest(kept)
    if bounds is None:
        return None
    orders = ("<", "<=", ">", ">=", "startswith")
    kept = [leaf for leaf in kept if leaf.operator not in orders]
    if not any(bound.positive for bound in bounds):
        return kept + bounds
    # A field that has a place in an order is not null.
    if any(leaf.operator == "isnull" and leaf.positive for leaf in kept):
        return None
    kept = [leaf for leaf in kept if leaf.operator != "isnull"]
    chosen = [bound for bound in bounds if bound.positive and bound.operator == "=="]
    return _chosen(chosen, kept + bounds) if chosen else kept + bounds


def _are_an_interval(one: Leaf, other: Leaf) -> bool:
    """The common case: a lower bound and a higher one above it."""
    if not (one.positive and other.positive and one.value and other.value):
        return False
    low, high = (one, other) if one.operator[0] == ">" else (other, one)
    return (
        low.operator in (">", ">=")
        and high.operator in ("<", "<=")
        and low.value[0] == high.value[0]
        and bool(low.value[1] < high.value[1])
    )


def _chosen(one_of_these: list[Leaf], leaves: list[Leaf]) -> list[Leaf] | None:
    """The field holds one of some values: which of them satisfy all that is said of it?"""
    first = min(one_of_these, key=lambda leaf: len(_constants(leaf)))
    constants = [
        constant for constant in _constants(first) if all(holds(leaf, constant) for leaf in leaves)
    ]
    chosen = one_of(first.field, constants, True)
    return [chosen] if isinstance(chosen, Leaf) else None


def _constants(leaf: Leaf) -> tuple[Constant, ...]:
    return leaf.value if leaf.operator == "in" else (leaf.value,)


def _opposite(leaf: Leaf) -> Leaf:
    return leaf._replace(positive=not leaf.positive)


def _without_negated_values(leaves: list[Leaf]) -> list[Leaf]:
    """``not ==`` and ``not in`` become one."""
    negated = [leaf for leaf in leaves if not leaf.positive and leaf.operator in ("==", "in")]
    if len(negated) < 2:
        return leaves
    constants = [constant for leaf in negated for constant in _constants(leaf)]
    merged = one_of(leaves[0].field, constants, False)
    assert isinstance(merged, Leaf)
    return [merged, *(leaf for leaf in leaves if leaf not in negated)]


def _tightest(leaves: list[Leaf]) -> list[Leaf] | None:
    """Of bounds in one direction only the one that counts; None where they exclude each other.

    Two equal bounds that both include their value are that value.
    """
    bounds: dict[Any, Leaf] = {}
    prefixes: list[Leaf] = []
    kinds = set()
    for leaf in leaves:
        if leaf.operator == "startswith" and leaf.positive:
            kinds.add(TEXT)
            prefixes.append(leaf)
        elif leaf.operator == "startswith":
            bounds[text_of(leaf.value)] = leaf
        elif leaf.operator in ("<", "<=", ">", ">="):
            kind = leaf.value[0]
            if leaf.positive:
                kinds.add(kind)
            direction = (leaf.operator[0], leaf.positive, kind)
            known = bounds.get(direction)
            if known is None or _counts_more(leaf, known):
                bounds[direction] = leaf
    if len(kinds) > 1:
        return None
    longest = max(prefixes, key=lambda leaf: len(leaf.value[1]), default=None)
    if longest is not None:
        if not all(longest.value[1].startswith(prefix.value[1]) for prefix in prefixes):
            return None
        bounds["startswith"] = longest
    for kind in kinds:
        low, high = bounds.get((">", True, kind)), bounds.get(("<", True, kind))
        if low is not None and high is not None:
            if low.value == high.value and low.operator == ">=" and high.operator == "<=":
                bounds["=="] = Leaf("==", low.field, low.value)
            elif low.value[1] >= high.value[1]:
                return None
    return list(bounds.values())


def _counts_more(leaf: Leaf, known: Leaf) -> bool:
    """Whether of two bounds in one direction ``leaf`` is the one that matters in an ``and``.

    That is the tighter one; of negations, the one that excludes more.
    """
    new, old = leaf.value[1], known.value[1]
    if new == old:
        # The one without "=" is tighter; negated, the one with it excludes more.
        return (leaf.operator in ("<", ">")) is leaf.positive
    smaller = bool(new < old)
    return smaller if (leaf.operator[0] == "<") is leaf.positive else not smaller
