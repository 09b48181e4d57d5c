"""What describes a key and a table of the settings. The keys themselves are in `tables` and `sink_keys`."""

from __future__ import annotations

from typing import Any

from msgspec import NODEFAULT, structs

from ..domain.values import Struct
from .kinds import Kind

BYTES = 'bytes, or a string such as "512KiB" or "8MiB"'
SECONDS = 'seconds, or a string such as "500ms", "10s" or "2m"'


class Key(Struct, frozen=True):
    """One key. example is TOML; unset says what holds when the key is missing and its default is no value;
    only names the values of `type` for which the key means anything (empty: all of them), never those for which it
    means nothing, needed those that cannot do without it. says_where: whether it says where a sink's notifications
    go."""

    name: str
    kind: Kind
    meaning: str
    example: str
    unit: str = ""
    unset: str = ""
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    says_where: bool = False

    def applies(self, type_: object) -> bool:
        return (not self.only or type_ in self.only) and type_ not in self.never


class Table(Struct, frozen=True):
    """One table of the file. repeated: written [[name]], any number of times; required: at least once."""

    name: str
    built: type[Struct]
    meaning: str
    keys: tuple[Key, ...]
    repeated: bool = False
    required: bool = False

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.repeated else f"[{self.name}]"

    def default(self, key: Key) -> Any:
        """The default of a key; NODEFAULT when the key must be given."""
        field = next(field for field in structs.fields(self.built) if field.name == key.name)
        return field.default if field.default_factory is NODEFAULT else field.default_factory()

    def requires(self, key: Key) -> bool:
        """Whether a key must be given. Asked of every key whenever settings are read, so no type is looked at."""
        without_default = len(self.built.__struct_fields__) - len(self.built.__struct_defaults__)
        return key.name in self.built.__struct_fields__[:without_default]

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)
