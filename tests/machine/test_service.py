"""The service under a real systemd, from its installation to its removal: installed as docs/install.md says, watching a
real Terraform of another user, telling a receiver.

One system is built and booted for all tests of this file (`make e2e` keeps them in one process); each finds the service
installed and at work, and leaves it so. What is asked of systemd is read from journald's entries.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containers import DEADLINE_S, messages
from support.hosts import AGENT, SETTINGS, SETTINGS_FILE, UNIT, WORK, Host

KEPT = ("/etc", "/var/lib", "/var/spool", "/usr", "/opt")
RESTART_SCHEDULED = "5eb03494b6584870a536b337290809b3"  # systemd.messages(7)
PROCESS_EXITED = "98e322203f7a4ed290d09fe03c09fe15"
UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("host")
    host = Host(base)
    yield host
    host.close()
    shutil.rmtree(base)


@pytest.fixture
def service(host: Host) -> Iterator[Host]:
    """The service, installed and at work; as it is whatever the test has done to it."""
    host.make_ready()
    host.container.run("systemctl", "enable", "--now", UNIT)
    yield host
    host.drop_in()
    host.settle()
    host.container.run("systemctl", "stop", UNIT)


def test_it_is_installed_as_the_page_says_tells_a_run_of_another_user_and_is_taken_away_again(host: Host) -> None:
    run = host.container.run
    before, users = host.container.files(*KEPT), host.container.out("cut", "-d:", "-f1", "/etc/passwd")

    shown = host.container.out(AGENT, "service", "install", "--dry-run", "--runner", "runner", "--watch", WORK)
    assert {line.split()[0] for line in shown.splitlines()} == {"would"}
    assert host.container.files(*KEPT) == before

    said = host.install()
    steps, left = said[: said.index("left to do:")], said[said.index("left to do:") + 1 :]
    assert [line.replace("done     ", "would    ") for line in steps] == shown.splitlines()
    commands = [line.rpartition(": ")[2] for line in left]
    assert commands[:2] == ["setfacl -m u:proton-tf-agent:x /home/runner", f"edit {SETTINGS_FILE}"]
    run("sh", "-c", commands[0])
    generated = host.container.out("cat", SETTINGS_FILE)
    assert f'path = "{WORK}"' in generated
    host.give_credentials()
    host.settle()
    run("sh", "-c", commands[-1])  # systemctl enable --now
    assert host.show("StatusText") == "watching 1 root, 0 runs open; nothing left to be told"

    directory, arn = host.make_run()
    host.apply(directory)
    assert host.hears(arn, "IN_PROGRESS", "SUCCEEDED")["outputs"] == {"vpc_id": "vpc-1"}

    again = host.install()
    assert {line.split("  ")[0] for line in again[: again.index("left to do:")]} == {"as it is"}
    assert again[-1].endswith(f": systemctl restart {UNIT}")
    assert host.container.out("cat", SETTINGS_FILE) == SETTINGS.strip()
    assert host.show("NeedDaemonReload") == "no"

    taken = host.container.out(AGENT, "service", "uninstall")
    kept = host.container.files(*KEPT) - before
    assert kept >= {"/var/lib/proton-tf-agent/journal.db", SETTINGS_FILE}
    assert {path for path in kept if not path.startswith(("/var/lib/proton-tf-agent", "/etc/proton-tf-agent"))} <= {
        f"/etc/systemd/system/{UNIT}.service.d", f"/etc/systemd/system/{UNIT}.service.d/50-credentials.conf",
        *(path for path in kept if path.startswith(("/var/lib/systemd", "/etc/passwd-", "/etc/group-"))),
    }  # fmt: skip
    for place in ("/var/lib/proton-tf-agent", "/etc/proton-tf-agent", f"/etc/systemd/system/{UNIT}.service.d"):
        assert f"  {place}: " in taken
    assert host.container.run("systemctl", "is-active", UNIT, check=False).stdout.strip() == "inactive"

    run(AGENT, "service", "uninstall", "--purge")
    left_over = host.container.files(*KEPT) - before
    assert {path for path in left_over if not path.startswith(("/etc/", "/var/lib/systemd"))} == set()
    assert {path for path in left_over if "proton" in path} == set()
    assert host.container.out("cut", "-d:", "-f1", "/etc/passwd") == users
    assert host.container.run("systemctl", "cat", UNIT, check=False).returncode != 0


def test_the_debian_package_installs_starts_tells_a_run_and_goes(host: Host) -> None:
    run = host.container.run
    run(AGENT, "service", "uninstall", "--purge")
    run("mv", "/opt/proton-tf-agent", "/opt/aside")
    try:
        before, users = host.container.files(*KEPT), host.container.out("cut", "-d:", "-f1", "/etc/passwd")
        run("sh", "-c", "dpkg --install /dist/*.deb")
        assert host.show("ActiveState") == "inactive", "nothing is started that a person has not started"
        run("proton-tf-agent", "service", "install", "--runner", "runner", "--watch", WORK)
        run("setfacl", "-m", f"u:{UNIT}:x", "/home/runner")
        host.give_credentials()
        host.settle()
        run("systemctl", "enable", "--now", UNIT)
        first = host.show("MainPID")
        directory, arn = host.make_run()
        host.apply(directory)
        host.hears(arn, "IN_PROGRESS", "SUCCEEDED")

        run("sh", "-c", "dpkg --install /dist/*.deb")  # a newer one in its place
        assert host.show("ActiveState") == "active"
        assert host.show("MainPID") != first
        assert host.container.out("cat", SETTINGS_FILE) == SETTINGS.strip()

        run("dpkg", "--remove", UNIT)
        assert host.show("ActiveState") == "inactive"
        assert (host.container.root / "var/lib/proton-tf-agent/journal.db").exists()
        assert not (host.container.root / "opt/proton-tf-agent").exists()
        run("dpkg", "--purge", UNIT)
        left_over = host.container.files(*KEPT) - before
        assert {path for path in left_over if "proton" in path} == set()
        assert host.container.out("cut", "-d:", "-f1", "/etc/passwd") == users
    finally:
        run("dpkg", "--purge", UNIT)
        run("rm", "-rf", "/opt/proton-tf-agent")
        run("mv", "/opt/aside", "/opt/proton-tf-agent")


def test_a_program_that_other_users_cannot_start_is_refused_before_anything_is_done(host: Host) -> None:
    run = host.container.run
    before = host.container.files(*KEPT)
    run("cp", "-a", "/opt/proton-tf-agent", "/root/agent")
    said = run("/root/agent/bin/python", "-I", "-m", "proton_tf_agent", "service", "install", check=False)
    assert said.returncode == 1
    assert said.stderr.startswith("proton-tf-agent: /root/agent/bin/python")
    assert "no other user can start it: Permission denied" in said.stderr
    assert host.container.files(*KEPT) == before
    run("rm", "-r", "/root/agent")


# --- the sandbox ------------------------------------------------------------------------------------------------------


def test_its_exposure_is_at_most_1_5_and_systemd_has_nothing_to_say_against_it(service: Host) -> None:
    """With the runner's group. The score is of 100 here, 10.0 elsewhere."""
    unit = f"/etc/systemd/system/{UNIT}.service"
    service.container.run("systemd-analyze", "security", "--offline=true", "--threshold=15", unit)
    assert service.container.run(
        "systemd-analyze", "security", "--offline=true", "--threshold=9", unit, check=False
    ).returncode
    said = service.container.run("systemd-analyze", "verify", "--man=no", unit)
    assert (said.stdout, said.stderr) == ("", "")


def test_it_runs_without_any_right_and_under_its_own_filter(service: Host) -> None:
    """The container has filters of its own: those of the service come on top."""

    def status(pid: str) -> dict[str, str]:
        text = service.container.out("cat", f"/proc/{pid}/status")
        return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}

    agent, init = status(service.show("MainPID")), status("1")
    assert {agent[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (agent["NoNewPrivs"], agent["Seccomp"]) == ("1", "2")
    assert int(agent["Seccomp_filters"]) > int(init["Seccomp_filters"])
    uid, gid = (service.container.out("id", option, UNIT) for option in ("-u", "-g"))
    runners = service.container.out("id", "-g", "runner")
    assert (set(agent["Uid"].split()), set(agent["Groups"].split())) == ({uid}, {gid, runners})
    command = service.container.out("cat", f"/proc/{service.show('MainPID')}/cmdline").split("\0")
    assert command[1:5] == ["-I", "-B", "-m", "proton_tf_agent"]


PROBE = """
import ctypes, json, mmap, os, shutil, socket, subprocess

def attempt(what):
    try:
        return what() or "done"
    except OSError as error:
        return error.strerror

def write(directory):
    with open(directory + "/probe", "w"):
        os.unlink(directory + "/probe")

def execute(directory):
    copy = directory + "/probe"
    try:
        shutil.copy("/bin/true", copy)
        os.chmod(copy, 0o755)
        subprocess.run([copy], check=True)
    finally:
        os.path.exists(copy) and os.unlink(copy)

def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

print(json.dumps({
    "write": {place: attempt(lambda: write(place)) for place in PLACES},
    "execute": {place: attempt(lambda: execute(place)) for place in PLACES},
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "others": [pid for pid in OTHERS if os.path.exists(f"/proc/{pid}")],
    "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip(),
    "executable memory": attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)) == "done",
    "unshare": attempt(lambda: call(272, 0x10000000)),
    "mount": attempt(lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None)),
    "ptrace": attempt(lambda: call(101, 16, os.getppid(), 0, 0)),
    "bpf": attempt(lambda: call(321, 0, None, 0)),
    "packet": attempt(lambda: socket.socket(socket.AF_NETLINK).close()),
    "openat2": attempt(lambda: call(437, -100, b"/", ctypes.byref((ctypes.c_uint64 * 3)(0, 0, 0)), 24)),
    "home": attempt(lambda: os.listdir(WORK) and None),
    "root": attempt(lambda: os.listdir("/root") and None),
}))
"""


def test_what_it_can_write_it_cannot_execute_and_what_it_need_not_it_cannot_do(service: Host) -> None:
    """Tried from inside of the very sandbox, with a program in the agent's place."""
    own = [f"{place}/proton-tf-agent" for place in ("/run", "/var/lib", "/var/spool")]
    places = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock", *own]
    closed = ["/usr", "/opt/proton-tf-agent", "/etc/proton-tf-agent", WORK, "/var/lib", "/home"]
    forbidden = [f"{WORK}/open", "/opt/open"]  # which the owner's modes would let it write
    for place in forbidden:
        service.container.run("install", "-d", "-m", "0777", place)
    given = f"PLACES = {[*places, *closed, *forbidden]}\nOTHERS = [1, {service.told_by}]\nWORK = {WORK!r}\n"
    service.container.write("/usr/local/lib/probe.py", given + PROBE)
    unit = (service.container.root / f"etc/systemd/system/{UNIT}.service").read_text()
    unit = re.sub(r"^ExecStart=.*", "ExecStart=/usr/bin/python3 -I /usr/local/lib/probe.py", unit, flags=re.MULTILINE)
    unit = re.sub(r"^(Restart|RestartSec|WatchdogSec|ExecReload)=.*\n", "", unit, flags=re.MULTILINE)
    service.container.write("/etc/systemd/system/probe.service", unit.replace("Type=notify", "Type=oneshot"))
    drop_in = (service.container.root / f"etc/systemd/system/{UNIT}.service.d/10-runner.conf").read_text()
    service.container.write("/etc/systemd/system/probe.service.d/10-runner.conf", drop_in)
    service.container.run("systemctl", "daemon-reload")
    service.container.run("systemctl", "start", "probe")
    lines = service.container.out("journalctl", "--unit=probe", "--output=cat").splitlines()
    found = next(json.loads(line) for line in lines if line.startswith("{"))
    service.container.run("rm", "-r", *forbidden)
    service.container.run("rm", "-r", "/etc/systemd/system/probe.service.d", "/etc/systemd/system/probe.service")
    service.container.run("systemctl", "daemon-reload")
    denied = "Operation not permitted"
    assert {found["write"][place] for place in closed} <= {"Read-only file system", "Permission denied"}
    assert {found["write"][place] for place in forbidden} == {"Read-only file system"}
    assert {found["write"][place] for place in own} == {"done"}
    assert not {place for place, came in found["execute"].items() if came == "done"}
    assert (found["others"], found["executable memory"]) == ([], False)
    assert {found[name] for name in ("unshare", "mount", "ptrace", "bpf")} == {denied}
    assert found["packet"] == "Address family not supported by protocol"
    assert (found["home"], found["root"]) == ("done", "Permission denied")
    # RestrictSUIDSGID= forbids openat2(2), whose flags no filter can see: the agent walks component by component then.
    assert found["openat2"] == os.strerror(errno.ENOSYS)
    assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_every_source_works_in_the_sandbox(service: Host) -> None:
    """JSON log, human log and state, and the wrapper's record of a run without a log; nothing is refused to the agent
    that it has to read. The lock file alone is Terraform's own (0600)."""
    mark = len(service.log)
    lines = {
        "terraform apply -json -auto-approve > apply.log": None,
        "terraform apply -no-color -auto-approve > apply.log 2>&1": None,
        f"{AGENT} exec -- terraform apply -auto-approve > /dev/null": None,
    }
    for line in lines:
        directory, arn = service.make_run()
        service.apply(directory, line)
        assert service.hears(arn, "IN_PROGRESS", "SUCCEEDED")["outputs"] == {"vpc_id": "vpc-1"}, line
    rows = service.log.since(mark)
    unreadable = [row["path"] for row in messages(rows) if row["event"] == "source.unreadable"]
    assert [path for path in unreadable if not path.endswith(".terraform.tfstate.lock.info")] == []
    assert "not permitted" not in json.dumps(rows)
    assert not [row for row in messages(rows) if row["event"] in ("watch.degraded", "agent.failed")]
    assert service.container.out("ls", "-A", "/var/spool/proton-tf-agent") == "", "records that are told are removed"


def test_in_the_sandbox_too_no_link_leads_out_of_a_run_directory(service: Host) -> None:
    """Although openat2(2) is forbidden there."""
    mark = len(service.log)
    directory, _ = service.make_run()
    elsewhere, arn = service.make_run()
    service.apply(elsewhere)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")
    service.apply(directory, f"ln -s {elsewhere}/apply.log apply.log && mkdir sub && ln -s {elsewhere} sub/link")
    service.says("source.unreadable", mark, path=f"{directory}/apply.log", reason="E_SYMLINK")
    told = [row for row in service.told.since() if row.get("resource_arn", "").endswith(directory.rpartition("/")[2])]
    assert told == []


def test_a_terraform_of_another_user_that_is_killed_is_told_as_lost(service: Host) -> None:
    """Neither its descriptors nor its lock file may be looked at; the kernel tells that the log was closed."""
    directory, arn = service.make_run("cat gate")
    gate = service.gate(directory)
    process = service.start(directory, "terraform apply -json -auto-approve > apply.log")
    gate.reached()
    service.told.wait_for(lambda rows: any(row.get("resource_arn") == arn for row in rows), "its beginning is not told")
    service.container.run("pkill", "-KILL", "-u", "runner")
    gate.close()
    process.wait(DEADLINE_S)
    last = service.hears(arn, "IN_PROGRESS", "FAILED")
    assert "inferred" in last["status_message"]


def test_doctor_names_a_root_that_the_sandbox_hides_and_what_hides_it(service: Host) -> None:
    """Root looks into the agent's own view; the service's user, who may not, asks systemd."""
    service.container.run("install", "-d", "-o", "runner", "/tmp/work")
    service.settle(SETTINGS.replace(f'path = "{WORK}"', 'path = "/tmp/work"'))

    def said(user: str) -> str:
        return service.container.run(AGENT, "doctor", "--config", SETTINGS_FILE, user=user, check=False).stdout

    service.container.run("systemctl", "restart", UNIT)
    assert "problem  settings     /tmp/work: the agent does not see it" in said("root")
    assert "change PrivateTmp=yes" in said("root")
    assert "warning  settings     /tmp/work: a service with PrivateTmp=yes does not see it" in said(UNIT)
    service.drop_in("PrivateTmp=no")
    service.container.run("systemctl", "restart", UNIT)
    assert "does not see it" not in said("root") + said(UNIT)


# --- restarts, reloads, crashes ---------------------------------------------------------------------------------------


def test_a_restart_in_mid_run_tells_nothing_twice_and_misses_nothing(service: Host) -> None:
    directory, arn = service.make_run("cat gate")
    gate = service.gate(directory)
    process = service.start(directory, "terraform apply -json -auto-approve > apply.log")
    gate.reached()
    service.told.wait_for(lambda rows: any(row.get("resource_arn") == arn for row in rows), "its beginning is not told")
    service.container.run("systemctl", "restart", UNIT)
    service.container.run("systemctl", "stop", UNIT)
    assert service.show("Result") == "success"
    gate.let_pass()
    assert process.wait(DEADLINE_S) == 0
    service.container.run("systemctl", "start", UNIT)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")


def test_a_reload_takes_good_settings_and_refuses_broken_ones_whole(service: Host) -> None:
    pid, mark = service.show("MainPID"), len(service.log)
    service.settle(SETTINGS.replace("settle = 1", "settle = 2"))
    service.container.run("systemctl", "reload", UNIT)
    service.says("agent.reloaded", mark, changed=["run"])

    service.settle(SETTINGS.replace("settle = 1", "settle = 'soon'").replace("[[sink]]", "[[sinks]]"))
    refused = service.container.run("systemctl", "reload", UNIT, check=False)
    assert refused.returncode != 0
    complaints = service.container.out("journalctl", "--unit", UNIT, "--output=cat", "--lines=20")
    assert f"{SETTINGS_FILE}:10:" in complaints
    assert "sinks" in complaints
    assert service.show("ActiveState") == "active"

    mark = len(service.log)
    service.container.run("kill", "-HUP", pid)  # by whoever does not ask systemd
    service.says("settings.refused", mark)
    service.log.wait_for(lambda _rows: "refused at the last reload" in service.show("StatusText"), "status", mark)
    directory, arn = service.make_run()
    service.apply(directory)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")
    assert service.show("MainPID") == pid


def test_killed_again_and_again_it_is_started_again_and_again(service: Host) -> None:
    """Without a limit: five deaths in a row would be too many for systemd's defaults."""
    service.drop_in("RestartSec=0")
    for death in range(6):
        mark = len(service.log)
        service.container.run("kill", "-KILL", service.show("MainPID"))
        assert int(service.systemd_says(RESTART_SCHEDULED, mark)["N_RESTARTS"]) == death + 1
        service.says("agent.ready", mark)
    directory, arn = service.make_run()
    service.apply(directory)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")


def test_settings_that_are_broken_at_the_start_need_a_person_and_no_restart(service: Host) -> None:
    service.settle("[[watch]]\n")
    mark = len(service.log)
    assert service.container.run("systemctl", "restart", UNIT, check=False).returncode != 0
    assert service.systemd_says(UNIT_FAILED, mark)["UNIT_RESULT"] == "exit-code"
    assert (service.show("ExecMainStatus"), service.show("ActiveState"), service.show("NRestarts")) == (
        "78",
        "failed",
        "0",
    )
    service.settle()
    service.container.run("systemctl", "restart", UNIT)


def test_while_another_agent_holds_the_journal_it_stands_by_and_then_takes_over(service: Host) -> None:
    mark = len(service.log)
    service.container.run("systemctl", "stop", UNIT)
    service.says("agent.stopping", mark)  # what it has said before lies behind us, too, however late journald tells
    other = ("systemd-run", "--unit=other", "--property=Type=notify", f"--uid={UNIT}", f"--gid={UNIT}")
    service.container.run(*other, AGENT, "run", "--config", SETTINGS_FILE)
    mark = len(service.log)
    try:
        assert service.container.run("systemctl", "start", UNIT, check=False).returncode != 0
        assert service.systemd_says(PROCESS_EXITED, mark)["EXIT_STATUS"] == "75"
        service.systemd_says(RESTART_SCHEDULED, mark)
        assert not [row for row in messages(service.log.since(mark)) if row["event"] == "agent.ready"]
    finally:
        mark = len(service.log)
        service.container.run("systemctl", "stop", "other")
    service.says("agent.ready", mark)


def test_an_agent_that_stands_still_is_killed_and_started_again_and_no_verdict_is_lost(service: Host) -> None:
    service.drop_in("WatchdogSec=5")
    service.container.run("systemctl", "restart", UNIT)
    directory, arn = service.make_run()
    mark = len(service.log)
    service.container.run("kill", "-STOP", service.show("MainPID"))
    service.apply(directory)
    failed = service.systemd_says(UNIT_FAILED, mark)
    assert failed["UNIT_RESULT"] == "watchdog"
    service.says("agent.ready", mark)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")


# Lets one thread stand still and the others go on, until the process is gone: PTRACE_SEIZE, PTRACE_INTERRUPT, __WALL.
HOLD = """
import ctypes, os, sys
ptrace, thread = ctypes.CDLL(None, use_errno=True).ptrace, int(sys.argv[1])
for request in (0x4206, 0x4207):
    assert ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())
_, status = os.waitpid(thread, 0x40000000)
print("held", flush=True)
while os.WIFSTOPPED(status):
    _, status = os.waitpid(thread, 0x40000000)
"""


# Threads in the order in which they are made: the observer is the first; who heeds signals, who checks the journal and
# who pings systemd come before the relay.
@pytest.mark.parametrize(("part", "thread"), [("observer", 0), ("relay", 4)])
def test_a_loop_that_hangs_by_itself_is_named_and_ended_although_the_other_goes_on(
    part: str, thread: int, service: Host
) -> None:
    """It is held as a disk or a server that never answers would hold it; the other loop and whoever pings systemd go
    on."""
    service.drop_in("WatchdogSec=5")
    service.container.run("systemctl", "restart", UNIT)
    directory, arn = service.make_run()
    mark = len(service.log)
    service.container.write("/usr/local/lib/hold.py", HOLD)
    threads = sorted(map(int, service.container.out("ls", f"/proc/{service.show('MainPID')}/task").split()))
    holding = service.container.follow("python3", "/usr/local/lib/hold.py", str(threads[thread]))
    holding.wait_for(lambda rows: [row for row in rows if row["MESSAGE"] == "held\n"], "is not held")
    service.apply(directory)
    assert service.says("agent.stalled", mark)["part"] == part
    assert service.systemd_says(UNIT_FAILED, mark)["UNIT_RESULT"] == "watchdog"
    service.says("agent.ready", mark)
    service.hears(arn, "IN_PROGRESS", "SUCCEEDED")


def test_a_full_volume_of_the_journal_stops_no_verdict_and_restarts_nothing(service: Host) -> None:
    run = service.container.run
    run("systemctl", "stop", UNIT)
    run("mount", "-t", "tmpfs", "-o", "size=16M,mode=0700", "none", "/var/lib/proton-tf-agent")
    try:
        mark = len(service.log)
        run("systemctl", "start", UNIT)
        pid = service.show("MainPID")
        first, first_arn = service.make_run()
        service.apply(first)
        service.hears(first_arn, "IN_PROGRESS", "SUCCEEDED")
        run("dd", "if=/dev/zero", "of=/var/lib/proton-tf-agent/ballast", "bs=4096", check=False)
        second, second_arn = service.make_run()
        service.apply(second)
        service.hears(second_arn, "IN_PROGRESS", "SUCCEEDED")
        service.says("journal.short", mark)
        run("rm", "/var/lib/proton-tf-agent/ballast")
        service.says("journal.refilled", mark)
        assert (service.show("MainPID"), service.show("NRestarts")) == (pid, "0")
        run("systemctl", "stop", UNIT)
    finally:
        run("umount", "--lazy", "/var/lib/proton-tf-agent")
