"""Section D of docs/bad-input.md: states that are not what the agent takes a state for."""

from __future__ import annotations

import json

from .facts import LOGS
from .hostile import Case, Ground
from .hostile_content import LOCK, LOG, STATE, Content, begin, good_state, in_state, put, whole_log, with_outputs

_HUMAN = (LOGS.parent / "human" / "apply_creates.log").read_bytes()


def _changed(**members: object) -> bytes:
    return (json.dumps(json.loads(good_state()) | members, indent=2) + "\n").encode()


def _serial_goes_back(ground: Ground) -> None:
    ground.bind()
    put(ground, STATE + ".backup", _changed(serial=99, lineage="another"))
    put(ground, STATE, _changed(serial=1))
    begin(ground, whole_log())


def _state_and_nothing_else(ground: Ground) -> None:
    """Whoever writes a state proves nothing by it."""
    ground.bind()
    put(ground, STATE, good_state())


def _errored(ground: Ground) -> None:
    ground.bind()
    put(ground, "errored.tfstate", good_state())
    begin(ground, whole_log())


def _stale_lock(ground: Ground) -> None:
    ground.bind()
    put(ground, LOCK, b'{"ID":"5f1","Operation":"OperationTypeApply","Who":"x","Created":"2020-01-01T00:00:00Z"}')


def _remote(ground: Ground) -> None:
    """Where the state is kept elsewhere, what `init` has written down is no state."""
    ground.bind()
    record = {"version": 3, "backend": {"type": "azurerm", "config": {"access_key": "hunter2-hunter2"}}}
    put(ground, ".terraform/terraform.tfstate", json.dumps(record).encode())
    (ground.directory / LOG).write_bytes("".join(whole_log()).encode())


def _with(
    name: str, title: str, outputs: dict[str, str], told: tuple[tuple[str, str], ...], omitted: tuple[str, ...]
) -> Content:
    def plant(ground: Ground) -> None:
        ground.bind()
        (ground.directory / LOG).write_bytes(b"".join(with_outputs(**outputs)(whole_log())))

    return Content(name, title, plant, succeeds=True, outputs=told, omitted=omitted)


_MANY = {f"o{number:03d}": '"x"' for number in range(60)}

CASES: tuple[Case, ...] = (
    in_state("64", "a state of version 3", _changed(version=3), "E_STATE_VERSION"),
    in_state("64", "a state of version 5", _changed(version=5), "E_STATE_VERSION"),
    in_state("64", "a version that is a string", _changed(version="4"), "E_STATE_VERSION"),
    Content("65", "a serial that goes back, another lineage", _serial_goes_back, mend=lambda _ground: None),
    Content("65", "a state and no run", _state_and_nothing_else),
    in_state("66", "outputs that are null", _changed(outputs=None)),
    in_state("66", "outputs that are a list", _changed(outputs=[]), "E_SCHEMA"),
    _with("67", "null and empty outputs", {"a": "null", "b": '""', "c": '"x"'}, (("c", "x"),), ("a", "b")),
    _with("68", "sixty outputs", _MANY, tuple((name, "x") for name in list(_MANY)[:50]), tuple(_MANY)[50:]),
    _with("69", "a value of 1,025 characters", {"a": '"' + "x" * 1025 + '"', "b": '"y"'}, (("b", "y"),), ("a",)),
    _with("69", "a name of 1,025 characters", {"n" * 1025: '"x"', "b": '"y"'}, (("b", "y"),), ()),
    _with(
        "70", "objects, lists and booleans", {"a": '{ "k" : [ 1 , true ] }', "b": "[ ]", "c": "false"},
        (("a", '{"k":[1,true]}'), ("b", "[]"), ("c", "false")), (),
    ),
    in_state("73", "an encrypted state", json.dumps({"serial": 1, "lineage": "l", "encrypted_data": "eA=="}).encode()),
    Content("74", "a state kept elsewhere", _remote, succeeds=True),
    Content("75", "a state that could not be saved", _errored, mend=lambda _ground: None),
    Content("76", "a lock that a reboot has left", _stale_lock),
)  # fmt: skip
