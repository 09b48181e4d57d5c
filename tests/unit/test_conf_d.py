"""conf.d: what stands in its files is read as if it stood in the settings file, and every complaint names its file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import jsonschema
import pytest
from support.command_lines import Output, run

from proton_tf_agent.domain.errors import Problem, SettingsInvalid
from proton_tf_agent.settings import Settings, advice, load, schema, show

MAIN = '[[watch]]\npath = "/srv/a"\n\n[journal]\npath = "/var/lib/x/journal.db"\n'
ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"


class Files:
    """A settings file and its conf.d."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.path = str(base / "agent.toml")
        self.write("agent.toml", MAIN)

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        """Write a file; its path."""
        file = self.base / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return str(file)

    def load(self) -> Settings:
        return load(self.path)

    def mistakes(self) -> list[str]:
        """What is refused, each with its place below the directory."""
        with pytest.raises(SettingsInvalid) as refused:
            self.load()
        return [self.place(problem) for problem in refused.value.problems]

    def place(self, problem: Problem) -> str:
        return f"{problem.where}: {problem.what}".replace(f"{self.base}/", "")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_what_is_written_in_double_brackets_is_appended_in_the_order_of_names(files: Files) -> None:
    files.write("conf.d/20-b.toml", '[[watch]]\npath = "/srv/c"\n\n[[sink]]\ntype = "console"\n')
    files.write("conf.d/10-a.toml", '[[watch]]\npath = "/srv/b"\nbackfill = true\n')
    settings = files.load()
    assert [watch.path for watch in settings.watch] == ["/srv/a", "/srv/b", "/srv/c"]
    assert [watch.backfill for watch in settings.watch] == [False, True, False]
    assert [sink.type for sink in settings.sink] == ["console"]


def test_a_single_table_may_be_spread_over_files_each_key_in_one_of_them(files: Files) -> None:
    files.write("conf.d/a.toml", "[journal]\nkeep_days = 7\n\n[run]\nsettle = 3\n")
    files.write("conf.d/b.toml", "[run]\ngrace = 2\n")
    settings = files.load()
    assert (settings.journal.path, settings.journal.keep_days) == ("/var/lib/x/journal.db", 7)
    assert (settings.run.settle, settings.run.grace) == (3, 2)


def test_a_key_that_two_files_set_is_refused_naming_both_places(files: Files) -> None:
    """Even to the same value: whoever changes one would not see why nothing happens."""
    files.write("conf.d/a.toml", "[run]\nsettle = 3\n")
    files.write("conf.d/b.toml", '\n[run]\nsettle = 3\n\n[journal]\npath = "/var/lib/y/journal.db"\n')
    assert files.mistakes() == [
        f"conf.d/b.toml:3: [run] settle: is set twice, first in {files.base}/conf.d/a.toml:2".replace(
            f"{files.base}/", ""
        ),
        "conf.d/b.toml:6: [journal] path: is set twice, first in agent.toml:5",
    ]


def test_every_mistake_of_every_file_is_reported_at_once_with_file_and_line(files: Files) -> None:
    files.write("agent.toml", f"{MAIN}keep_days = -1\n")
    files.write("conf.d/a.toml", '[[watch]]\npath = "relative"\n[[watches]]\npath = "/x"\n')
    files.write("conf.d/b.toml", '[[bind]]\ndirectory = "/srv/a/net"\n\n[sink]\ntype = "consol"\n')
    found = files.mistakes()
    assert [line.partition(": ")[0] for line in found] == [
        "agent.toml:6", "conf.d/a.toml:2", "conf.d/a.toml:3", "conf.d/b.toml:1", "conf.d/b.toml:4", "conf.d/b.toml:5",
    ]  # fmt: skip
    assert "[[bind]] resource_arn: is missing" in found[3]


def test_what_contradicts_itself_over_two_files_names_the_other_one(files: Files) -> None:
    files.write("conf.d/a.toml", f'[[bind]]\ndirectory = "/srv/a/net"\nresource_arn = "{ARN}"\n')
    files.write(
        "conf.d/b.toml", f'[[watch]]\npath = "/srv/a/b"\n[[bind]]\ndirectory = "/srv/a/net"\nresource_arn = "{ARN}"\n'
    )
    assert files.mistakes() == [
        "conf.d/b.toml:2: [[watch]] path: /srv/a/b lies inside the watch root /srv/a",
        "conf.d/b.toml:4: [[bind]] directory: /srv/a/net is bound twice, first in conf.d/a.toml:1",
    ]


def test_a_file_that_is_no_toml_is_named_and_hides_no_other(files: Files) -> None:
    files.write("conf.d/a.toml", "[run\n")
    files.write("conf.d/b.toml", "settle = \n")
    files.write("conf.d/c.toml", "[unknown]\n")
    found = files.mistakes()
    assert [line.partition(": ")[0] for line in found] == ["conf.d/a.toml:1:5", "conf.d/b.toml:1:10", "conf.d/c.toml:1"]


def test_what_is_missing_is_missed_once_and_in_the_settings_file(files: Files) -> None:
    files.write("agent.toml", "")
    files.write("conf.d/a.toml", "[run]\nsettle = 3\n")
    assert files.mistakes() == ["agent.toml: [[watch]]: at least one is required"]
    files.write("conf.d/b.toml", '[[watch]]\npath = "/srv/a"\n')
    assert files.load().watch[0].path == "/srv/a"


@pytest.mark.parametrize("name", ["README", "a.toml~", "a.toml.bak", ".a.toml", ".a.toml.swp"])
def test_what_editors_leave_and_what_is_hidden_is_not_read(files: Files, name: str) -> None:
    files.write(f"conf.d/{name}", "no settings")
    assert files.load() == load(files.path)


def test_a_file_that_others_can_write_is_refused_and_so_is_the_directory(files: Files) -> None:
    file = files.write("conf.d/a.toml", "[run]\nsettle = 3\n", 0o664)
    assert files.mistakes() == ["conf.d/a.toml: can be written by others than its owner (mode 0664)"]
    os.chmod(file, 0o644)
    os.chmod(files.base / "conf.d", 0o777)
    assert files.mistakes() == ["conf.d: can be written by others than its owner (mode 0777)"]


def test_a_directory_among_them_a_fifo_and_a_link_to_nowhere_are_refused(files: Files) -> None:
    (files.base / "conf.d" / "a.toml").mkdir(parents=True)
    os.mkfifo(files.base / "conf.d" / "b.toml")
    (files.base / "conf.d" / "c.toml").symlink_to("nowhere")
    assert files.mistakes() == [
        "conf.d/a.toml: is a directory", "conf.d/b.toml: is not a regular file", "conf.d/c.toml: does not exist",
    ]  # fmt: skip


def test_a_conf_d_that_is_no_directory_is_refused(files: Files) -> None:
    files.write("conf.d", "")
    assert files.mistakes() == ["conf.d: cannot be read: Not a directory"]


def test_show_names_the_file_of_every_key_and_reads_back_as_the_same(files: Files) -> None:
    files.write("conf.d/a.toml", '[journal]\nkeep_days = 7\n\n[[sink]]\ntype = "console"\n')
    settings = files.load()
    shown = show(settings)
    assert f'path = "/var/lib/x/journal.db"  # {files.path}:5\n' in shown
    assert f"keep_days = 7  # {files.base}/conf.d/a.toml:2\n" in shown
    assert f'type = "console"  # {files.base}/conf.d/a.toml:5\n' in shown
    (files.base / "conf.d" / "a.toml").unlink()
    files.write("agent.toml", shown)
    assert files.load() == settings


def test_advice_names_the_file_it_is_about(files: Files) -> None:
    files.write("conf.d/a.toml", '[[watch]]\npath = "/no/such/root"\n[[sink]]\ntype = "console"\n')
    places = [files.place(problem) for problem in advice(files.load())]
    assert "conf.d/a.toml:2: [[watch]] path: /no/such/root does not exist yet" in places


# --- config validate --------------------------------------------------------------------------------------------------


def test_validate_judges_the_settings_with_their_conf_d_and_a_file_of_it_by_itself(
    files: Files, capsys: Output
) -> None:
    part = files.write("conf.d/a.toml", "[run]\nsettle = 3\n")
    assert run(capsys, "config", "validate", "--config", files.path)[0] == 0
    code, out, _ = run(capsys, "config", "validate", part)
    assert (code, out) == (0, f"{part}: valid by itself\n"), "that it watches nothing is no mistake of a part"

    files.write("conf.d/a.toml", '[run]\nsettle = "soon"\n')
    for arguments in (["--config", files.path], [files.path], [part]):
        code, out, err = run(capsys, "config", "validate", *arguments)
        assert (code, out) == (78, "")
        assert f"{part}:2: [run] settle: " in err


def test_each_of_many_files_is_judged_and_the_worst_is_the_exit_code(files: Files, capsys: Output) -> None:
    good = files.write("conf.d/a.toml", "[run]\nsettle = 3\n")
    bad = files.write("conf.d/b.toml", "[run]\nsettl = 3\n")
    code, out, err = run(capsys, "config", "validate", good, bad)
    assert (code, out) == (78, f"{good}: valid by itself\n")
    assert f"{bad}:2: [run] settl: unknown key" in err


@pytest.mark.parametrize(
    ("main", "part"),
    [
        (MAIN, f'[[bind]]\ndirectory = "/srv/a/x"\nresource_arn = "{ARN}"\n'),
        (MAIN, "[run]\nsettle = 3\n"),
        ("[log]\nlevel = 'debug'\n", MAIN),
    ],
)
def test_an_editor_with_the_schema_has_nothing_against_a_file_that_does_well_with_the_others(
    files: Files, main: str, part: str
) -> None:
    """What must be there at all, a root, may be in any of them."""
    files.write("agent.toml", main)
    files.write("conf.d/team.toml", part)
    files.load()
    for text in (main, part):
        jsonschema.validate(tomllib.loads(text), schema())
