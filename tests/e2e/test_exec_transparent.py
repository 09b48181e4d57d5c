"""`exec` is not noticed: every case bare and wrapped, with the same bytes, ends, signals and surroundings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.exec_side import DEADLINE_S, WRAPPED, Ended, Side, end_all
from support.terminal import Terminal
from support.terraform import Gate

BARE = ()
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCONT)
DEATHS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE, signal.SIGUSR1)
EVERY_BYTE = bytes(range(256))


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """The same place twice: for the bare command and for the wrapped one."""
    spool = tmp_path / "spool"
    spool.mkdir()
    made = []
    for name, prefix in (("bare", BARE), ("wrapped", WRAPPED)):
        directory = tmp_path / name
        directory.mkdir()
        made.append(Side(name, prefix, directory, spool))
    return made[0], made[1]


def same(sides: tuple[Side, Side], action: Callable[[Side], object]) -> Any:
    """What an action gives on both sides, which must be the same; paths count from each side's own directory."""
    bare, wrapped = (_placeless(side, action(side)) for side in sides)
    assert wrapped == bare
    return bare


def _placeless(side: Side, found: object) -> object:
    place = str(side.directory)
    if isinstance(found, Ended):
        return (
            found.status,
            found.out.replace(place.encode(), b"DIR"),
            found.err.replace(place.encode(), b"DIR"),
        )
    return found


def recorded(side: Side) -> list[dict[str, Any]]:
    """The records in the spool."""
    return [json.loads(path.read_text()) for path in sorted(side.spool.glob("*.json"))]


# --- bytes ----------------------------------------------------------------------------------------------------------

PRINTERS = {
    "nothing": "exit 0",
    "two streams": "echo out; echo err >&2; echo more; exit 3",
    "no last line end": "printf 'one\\ntwo'; printf 'three' >&2",
    "carriage returns and colours": "printf '\\033[1mPlan:\\033[0m 3\\r\\nx\\ry\\n'",
    "a long line": "head -c 3000000 /dev/zero | tr '\\0' x; echo",
    "many lines": "seq 1 200000",
    "a JSON UI": """printf '%s\\n' '{"@module":"terraform.ui","type":"version","ui":"1.2","terraform":"1"}' '{' '{}'""",
}


@pytest.mark.parametrize("script", PRINTERS.values(), ids=PRINTERS)
@pytest.mark.parametrize("command", ["apply", "output"])
def test_bytes_and_status_are_those_of_the_bare_command(sides: tuple[Side, Side], script: str, command: str) -> None:
    same(sides, lambda side: side.run([side.program(script), command]))
    assert len(recorded(sides[1])) == (command == "apply")


def test_every_byte_goes_in_and_comes_out_as_it_is(sides: tuple[Side, Side]) -> None:
    ended = same(sides, lambda side: side.run([side.program("tee /dev/stderr"), "apply"], EVERY_BYTE * 5000))
    assert ended == (0, EVERY_BYTE * 5000, EVERY_BYTE * 5000)


def test_both_streams_in_one_pipe_keep_their_order(sides: tuple[Side, Side]) -> None:
    script = "for n in $(seq 1 2000); do echo out $n; echo err $n >&2; done"
    (status, out, _) = same(sides, lambda side: side.run([side.program(script), "apply"], stderr=subprocess.STDOUT))
    assert (status, out.count(b"\n")) == (0, 4000)


@pytest.mark.parametrize(
    "redirected",
    ["> log", ">> log", "> log 2>&1", "> log 2> errors", "2> errors | cat", "| cat", "2>&1 | tee log", "&> /dev/null"],
)
def test_output_goes_where_the_shell_sends_it(sides: tuple[Side, Side], redirected: str) -> None:
    def action(side: Side) -> object:
        side.program("seq 1 3000; echo bad >&2; seq 1 10; exit 2")
        (side.directory / "log").write_text("before\n")
        ended = side.shell(f"set -o pipefail; $RUN terraform apply {redirected}")
        return (ended.status, ended.out, ended.err, [(side.directory / n).read_bytes()
                for n in ("log", "errors") if (side.directory / n).exists()])  # fmt: skip

    same(sides, action)


def test_what_is_not_read_of_standard_input_is_left_for_the_next_command(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("head -c 4")
        (side.directory / "input").write_text("one\ntwo\nthree\n")
        return side.shell("{ $RUN terraform apply; cat; } < input")

    assert same(sides, action) == (0, b"one\ntwo\nthree\n", b"")


def test_nothing_is_held_back(sides: tuple[Side, Side]) -> None:
    """A talker waits for its answer: it would wait for ever for whoever buffers."""
    for side in sides:
        with side.talk() as talk:
            for text in ("yes", "no", "a" * 2000):
                talk.tell(text)
                assert talk.hear() == text
            assert talk.end() == ([], 5)


# --- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 2, 3, 126, 127, 255])
def test_the_exit_status_is_that_of_the_command(sides: tuple[Side, Side], status: int) -> None:
    assert same(sides, lambda side: side.run([side.program(f"exit {status}"), "plan"])) == (status, b"", b"")
    assert [record["ended"]["status"] for record in recorded(sides[1])] == [status]


@pytest.mark.parametrize("number", DEATHS, ids=lambda number: number.name)
def test_who_dies_of_a_signal_dies_of_it_behind_the_wrapper(sides: tuple[Side, Side], number: signal.Signals) -> None:
    ended = same(sides, lambda side: side.run([side.program(f"echo last words; kill -{number} $$"), "apply"]))
    assert ended == (-number, b"last words\n", b"")
    assert [record["ended"]["signal"] for record in recorded(sides[1])] == [number]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_are_closed_to_the_command(sides: tuple[Side, Side], closed: str) -> None:
    def action(side: Side) -> object:
        side.program("ls -l /proc/self/fd | grep -c . > fds; echo out; echo status $? >> fds; cat")
        ended = side.shell(f"$RUN terraform apply {closed}", b"in")
        return (
            ended.status,
            ended.out,
            ended.err.replace(side.name.encode(), b""),
            (side.directory / "fds").read_bytes(),
        )

    same(sides, action)


def test_a_reader_that_goes_away_ends_the_command_as_it_would(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("while :; do echo line; done")
        return side.shell("$RUN terraform apply | head -n 2; echo ${PIPESTATUS[0]}")

    assert same(sides, action) == (0, b"line\nline\n141\n", b"")


def test_a_reader_that_is_gone_already_is_noticed_with_the_first_write(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("trap '' PIPE; read go; for n in 1 2 3; do echo $n 2> /dev/null || echo $n failed >&2; done")
        return side.shell("{ echo; } | { $RUN terraform apply < <(cat; echo); echo $? >&2; } | true")

    def outcome(side: Side) -> object:
        ended = action(side)
        return ended.status, b"0" in ended.err

    same(sides, outcome)


def test_what_a_command_leaves_running_may_write_on(sides: tuple[Side, Side]) -> None:
    """The caller goes on when the command has ended, and still hears the rest."""

    def action(side: Side) -> Ended:
        side.program("(read go < gate; echo later) & echo now; exit 4")
        os.mkfifo(side.directory / "gate")
        return side.shell("{ $RUN terraform apply; echo status $?; echo go > gate; } | cat")

    assert same(sides, action) == (0, b"now\nstatus 4\nlater\n", b"")


@pytest.mark.parametrize(("name", "status"), [("no-such-command", 127), ("./plain.txt", 126), ("./nowhere", 127)])
def test_a_command_that_cannot_be_run_ends_as_in_a_shell(sides: tuple[Side, Side], name: str, status: int) -> None:
    side = sides[1]
    (side.directory / "plain.txt").write_text("text")
    ended = side.run([name])
    assert (ended.status, ended.out, ended.err.count(b"\n")) == (status, b"", 1)
    assert name.encode() in ended.err


# --- surroundings ---------------------------------------------------------------------------------------------------

SURROUNDINGS = {
    "arguments": 'for word in "$@"; do printf "<%s>" "$word"; done',
    "environment": "env -0 | sort -z | grep -zv '^_=' | tr '\\0' '\\n'",
    "directory, mask and limits": "pwd; umask; ulimit -a; nice",
    "signals": "grep -E '^Sig(Blk|Ign|Cgt)|^ShdPnd' /proc/self/status",
    "descriptors": "cd /proc/$$/fd && for fd in *; do [ -e $fd ] && echo $fd; done",
    "standard input": "readlink /proc/self/fd/0",
}


@pytest.mark.parametrize("script", SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.parametrize("command", ["plan", "version"])
def test_the_command_finds_itself_in_the_same_surroundings(sides: tuple[Side, Side], script: str, command: str) -> None:
    words: list[str | bytes] = [command, "", "-var", "a=b c", "two\nlines", b"\xff\xfe", "--", "*"]
    same(sides, lambda side: side.run([side.program(script), *words], stdin=subprocess.DEVNULL))


def test_signals_that_the_caller_ignores_stay_ignored(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("grep SigIgn /proc/self/status")
        return side.shell("trap '' HUP INT QUIT TERM USR1; $RUN terraform apply")

    same(sides, action)


def test_signals_that_the_caller_holds_up_are_held_up_and_the_end_is_noticed_all_the_same(
    sides: tuple[Side, Side],
) -> None:
    def hold_up() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})

    same(sides, lambda side: side.run([side.program("grep SigBlk /proc/self/status"), "apply"], preexec_fn=hold_up))


def test_where_no_locale_is_set_none_is(sides: tuple[Side, Side]) -> None:
    """Python sets LC_CTYPE for itself: PEP 538."""

    def action(side: Side) -> Ended:
        side.program("env | grep ^L[CA]; echo over")
        return side.shell("unset LANG LC_ALL LC_CTYPE; $RUN terraform apply; LC_CTYPE=C.UTF-8 $RUN terraform apply")

    assert same(sides, action) == (0, b"over\nLC_CTYPE=C.UTF-8\nover\n", b"")


def test_a_directory_that_is_gone_is_the_commands_own_affair(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("echo here; exit 3")
        ended = side.shell("mkdir gone && cd gone && rmdir ../gone && $RUN terraform apply")
        return Ended(ended.status, ended.out)

    assert same(sides, action) == (3, b"here\n", b"")


def test_descriptors_that_the_caller_hands_down_come_through(sides: tuple[Side, Side]) -> None:
    def action(side: Side) -> Ended:
        side.program("cat <&7; echo nine >&9")
        return side.shell("$RUN terraform apply 7< <(echo seven) 9>&1")

    assert same(sides, action) == (0, b"seven\nnine\n", b"")


def test_the_command_stays_in_the_callers_process_group_and_session(sides: tuple[Side, Side]) -> None:
    for side in sides:
        with side.talk() as talk:
            pids = [talk.process.pid]
            while children := Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children").read_text().split():
                pids.append(int(children[-1]))
            assert len(pids) == (3 if side.prefix else 1)
            assert {os.getpgid(pid) for pid in pids} == {talk.process.pid}
            assert {os.getsid(pid) for pid in pids} == {os.getsid(0)}


# --- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("to_all", [False, True], ids=["to the command", "to its process group"])
def test_a_signal_is_passed_on_exactly_once(sides: tuple[Side, Side], number: signal.Signals, to_all: bool) -> None:
    """Twice, an interrupt makes Terraform abandon its state. SIGUSR2 comes behind whatever else is on its way."""
    for side in sides:
        with side.talk() as talk:
            (os.killpg if to_all else os.kill)(talk.process.pid, number)
            assert talk.hear() == number.name
            os.kill(talk.process.pid, signal.SIGUSR2)
            assert talk.hear() == "SIGUSR2"
            assert talk.end() == ([], 5)


def test_two_interrupts_are_two(sides: tuple[Side, Side]) -> None:
    for side in sides:
        with side.talk() as talk:
            for _ in range(2):
                os.kill(talk.process.pid, signal.SIGINT)
                assert talk.hear() == "SIGINT"
            assert talk.end() == ([], 5)


def test_a_stop_stops_the_command_and_its_caller_sees_it(sides: tuple[Side, Side]) -> None:
    for side in sides:
        with side.talk() as talk:
            pid = talk.process.pid
            os.kill(pid, signal.SIGTSTP)
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
            os.kill(pid, signal.SIGCONT)
            assert talk.hear() == "SIGCONT"
            talk.tell("on")
            assert talk.hear() == "on"
            assert talk.end() == ([], 5)


def test_keys_typed_in_a_terminal_reach_the_command_once(sides: tuple[Side, Side]) -> None:
    for side in sides:
        with Terminal(side.line([side.talker(), "apply"]), side.directory, side.env(), (30, 100)) as terminal:
            terminal.wait_for(b"ready\r\n")
            terminal.type(b"\x03")
            terminal.wait_for(b"SIGINT\r\n")
            terminal.resize(40, 120)
            terminal.wait_for(b"SIGWINCH\r\n")
            terminal.type(b"hello\n")
            terminal.wait_for(b"hello\r\nhello\r\n")
            terminal.type(b"\x04")
            assert terminal.end() == 5
            said = terminal.screen.replace(b"^C", b"").replace(b"^D\x08\x08", b"")
            assert said == b"ready\r\nSIGINT\r\nSIGWINCH\r\nhello\r\nhello\r\n", side.name


def test_a_job_that_is_stopped_in_a_terminal_goes_on_in_it(sides: tuple[Side, Side]) -> None:
    """Ctrl-Z and `fg`, as a shell does it."""
    for side in sides:
        with Terminal(side.line([side.talker(), "apply"]), side.directory, side.env(), (30, 100)) as terminal:
            terminal.wait_for(b"ready\r\n")
            terminal.type(b"\x1a")
            terminal.wait_until_stopped()
            terminal.go_on()
            terminal.wait_for(b"SIGCONT\r\n")
            terminal.type(b"hello\n")
            terminal.wait_for(b"hello\r\nhello\r\n")
            terminal.type(b"\x04")
            assert terminal.end() == 5
            assert terminal.screen.count(b"SIGCONT") == 1, side.name


def test_a_terminal_stays_one(sides: tuple[Side, Side]) -> None:
    script = "for fd in 0 1 2; do [ -t $fd ] && echo $fd; done; stty size; readlink /proc/$$/fd/1; exit 3"
    screens = []
    for side in sides:
        with Terminal(side.line([side.program(script), "apply"]), side.directory, side.env(), (33, 99)) as terminal:
            assert terminal.end() == 3
            screens.append(re.sub(rb"pts/\d+", b"pts/N", terminal.screen))
    assert screens[0] == screens[1]
    assert b"0\r\n1\r\n2\r\n33 99\r\n" in screens[0]


# --- whatever fails of ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["no spool", "spool is a file", "spool is full", "settings are none", "no descriptors"])
def test_if_anything_of_ours_fails_the_command_runs_as_if_we_were_not_there(sides: tuple[Side, Side], why: str) -> None:
    before = {"spool is full": "ulimit -f 0; trap '' XFSZ;", "no descriptors": "ulimit -n 12;"}.get(why, "")
    if why == "no spool":
        sides[1].environment = {"PROTON_TF_AGENT_SPOOL": "/nowhere/at/all"}
    if why == "spool is a file":
        (sides[1].directory / "file").write_text("")
        sides[1].environment = {"PROTON_TF_AGENT_SPOOL": str(sides[1].directory / "file")}
    if why == "settings are none":
        (sides[1].directory / "agent.toml").write_bytes(b"[spool\n\xff")
        sides[1].environment = {"PROTON_TF_AGENT_CONFIG": str(sides[1].directory / "agent.toml")}

    ends = []
    for side in sides:
        side.program("trap '' XFSZ; echo out; echo err >&2; cat; exit 2")
        ends.append(side.shell(f"{before} $RUN terraform apply", b"in"))
    bare, wrapped = ends
    assert (wrapped.status, wrapped.out) == (bare.status, bare.out) == (2, b"out\nin")
    ours = [line for line in wrapped.err.splitlines() if line.startswith(b"proton-tf-agent: ")]
    assert [line for line in wrapped.err.splitlines() if line not in ours] == bare.err.splitlines()
    assert len(ours) <= 1
    assert bool(ours) == (why not in ("settings are none",))


# --- a real Terraform -----------------------------------------------------------------------------------------------

CONFIGURATION = """
variable "bad" { default = "" }
resource "terraform_data" "one" { input = "one" }
resource "terraform_data" "bad" {
  count      = var.bad == "" ? 0 : 1
  depends_on = [terraform_data.one]
  provisioner "local-exec" { command = "exit 3" }
}
output "text" { value = "ümläut\\nand <&>" }
output "map" { value = { a = [1, 2.50], b = null } }
"""
REAL = {
    "plan": "plan -no-color",
    "plan -detailed-exitcode": "plan -detailed-exitcode",
    "apply": "apply -auto-approve",
    "apply -json": "apply -json -auto-approve",
    "a failing apply": "apply -auto-approve -var bad=1",
    "a failing plan": "plan -var nope=1",
    "no approval": "apply -input=false -json",
    "validate": "validate",
    "output -raw": "output -raw text",
    "help": "apply -help",
    "version": "version",
    "nonsense": "nonsense",
}


@pytest.mark.parametrize("line", REAL.values(), ids=REAL)
def test_a_real_terraform_says_and_does_the_same(sides: tuple[Side, Side], line: str, terraform_path: str) -> None:
    def action(side: Side) -> object:
        (side.directory / "main.tf").write_text(CONFIGURATION)
        if line.startswith("output"):
            side.run([terraform_path, "apply", "-auto-approve"])
        ended = side.run([terraform_path, *line.split()], stdin=subprocess.DEVNULL)
        state = side.directory / "terraform.tfstate"
        return (
            ended.status,
            _timeless(ended.out),
            _timeless(ended.err),
            _timeless(state.read_bytes() if state.exists() else b""),
        )

    same(sides, action)


def test_a_real_terraform_asks_in_a_terminal_and_is_interrupted_there(
    sides: tuple[Side, Side], terraform_path: str
) -> None:
    ends = []
    for side in sides:
        (side.directory / "main.tf").write_text(CONFIGURATION)
        command = side.line([terraform_path, "apply", "-no-color"])
        with Terminal(command, side.directory, side.env(), (40, 120)) as terminal:
            terminal.wait_for(b"Enter a value: ")
            terminal.type(b"yes\n")
            ends.append((terminal.end(), _timeless(terminal.screen)))
        with Terminal([*command, "-replace=terraform_data.one"], side.directory, side.env(), (40, 120)) as terminal:
            terminal.wait_for(b"Enter a value: ")
            terminal.type(b"\x03")
            status = terminal.end()
            assert b"Two interrupts" not in terminal.screen
            ends.append((status, b""))  # what Terraform still says before it gives up asking is chance
    assert ends[:2] == ends[2:]
    assert [status for status, _ in ends[:2]] == [0, 1]


_GATED = """
resource "terraform_data" "one" { input = "one" }
resource "terraform_data" "gated" {
  depends_on = [terraform_data.one]
  provisioner "local-exec" { command = "cat gate" }
}
"""


@pytest.mark.parametrize("to_all", [False, True], ids=["to the command", "to its process group"])
def test_a_real_terraform_is_interrupted_once_in_the_middle_of_an_apply(
    sides: tuple[Side, Side], terraform_path: str, to_all: bool
) -> None:
    found = []
    for side in sides:
        (side.directory / "main.tf").write_text(_GATED)
        gate = Gate(side.directory / "gate")
        process = subprocess.Popen(
            side.line([terraform_path, "apply", "-json", "-auto-approve"]),
            cwd=side.directory, env=side.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0,
        )  # fmt: skip
        try:
            gate.reached()
            (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            gate.close()
            end_all(process)
        state = json.loads((side.directory / "terraform.tfstate").read_bytes())
        names = sorted(resource["name"] for resource in state["resources"])
        found.append((process.returncode, out.count(b"Interrupt received"), out.count(b"Two interrupts"), names))
    assert found[0] == found[1]
    assert found[1][:3] == (1, 1, 0)


def _timeless(text: bytes) -> bytes:
    """Without ids, times and what else differs from run to run."""
    text = re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"ID", text)
    text = re.sub(rb'"@timestamp":"[^"]+"', b"", text)
    return re.sub(rb"after \d+s", b"after 0s", text)


def test_the_wrapper_imports_nothing_heavy_before_terraform_runs() -> None:
    program = (
        "import sys\nimport proton_tf_agent.__main__, proton_tf_agent.wrapper, proton_tf_agent.wrapper.front\n"
        "print(*sorted(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True, timeout=DEADLINE_S)
    heavy = {
        "argparse",
        "boto3",
        "botocore",
        "dataclasses",
        "hcl2",
        "inspect",
        "msgspec",
        "rich",
        "structlog",
        "watchdog",
    }
    assert heavy.isdisjoint(said.stdout.decode().split())
