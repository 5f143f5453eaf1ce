"""Damaged JSON, for tests that a reader reads it or says what is wrong, and never does anything else."""

import copy

from hypothesis import strategies as st

anything = st.recursive(st.none() | st.booleans() | st.integers(-10, 10 ** 400) | st.floats() | st.text(max_size=4),
                        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                        max_leaves=5)


def places(value, path=()):
    """The path of every value inside a JSON value, itself not included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield path + (key,)
        yield from places(one, path + (key,))


@st.composite
def damaged(draw, value):
    """The value with one part of it replaced by anything, or taken out."""
    root = node = copy.deepcopy(value)
    *way, last = draw(st.sampled_from(list(places(value))))
    for key in way:
        node = node[key]
    if draw(st.booleans()):
        node[last] = draw(anything)
    else:
        del node[last]
    return root
