"""Cursors are found by file and by beginning exactly as looking through all of them would find them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proton_tf_agent.domain.cursors import Cursors
from proton_tf_agent.domain.evidence import Cursor

_PATHS = st.sampled_from(["/w/a.log", "/w/b.log", "/w/c/a.log"])
_CURSORS = st.builds(
    Cursor, _PATHS, device=st.just(1), inode=st.integers(1, 2), head=st.sampled_from(["", "x", "y"]),
    generation=st.integers(0, 1), offset=st.integers(0, 2),
)  # fmt: skip


@given(st.lists(_CURSORS | _PATHS))
def test_what_is_found_is_what_is_there(steps: list[Cursor | str]) -> None:
    cursors, plain = Cursors(), dict[str, Cursor]()
    for step in steps:
        if isinstance(step, Cursor):
            cursors[step.path] = plain[step.path] = step
        else:
            assert cursors.pop(step, None) == plain.pop(step, None)
    assert dict(cursors) == plain
    human = {path for path, cursor in plain.items() if cursor.generation}
    assert {cursor.path for cursor in cursors.for_people()} == human
    for inode in (1, 2):
        assert {c.path for c in cursors.of_file(1, inode)} == {path for path in human if plain[path].inode == inode}
    for head in ("x", "y"):
        assert {c.path for c in cursors.beginning_with(head)} == {c.path for c in plain.values() if c.head == head}
    assert not list(cursors.beginning_with(""))
