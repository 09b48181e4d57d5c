"""What Terraform and OpenTofu print for people: every line that counts, and the source that prints it.

One row per line. Sources are paths in github.com/hashicorp/terraform at v1.11.4 and, where no other is named, the same
path in github.com/opentofu/opentofu at v1.12.6; older and newer tags are named where a text is theirs alone. A row
matches a whole line at the first column, without its colours. What is wrapped to the width of the terminal matches by
its beginning.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def plain(line: bytes) -> str:
    """A line without its end, its colours, and the hole that a log has whose writer goes on behind a truncation."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    if "\x1b" in text:
        text = _ANSI.sub("", text).rstrip("\r")
    return text.lstrip("\0")


class Says(Enum):
    """What a line says."""

    HOOK = auto()
    PLANNING = auto()
    PLAN_FAILED = auto()
    NO_CHANGES = auto()
    PLAN = auto()
    ONLY_REFRESHED = auto()
    OUTPUTS_CHANGE = auto()
    ONLY_OUTPUTS_CHANGE = auto()
    PLAN_IS_OVER = auto()
    SUMMARY = auto()
    OUTPUTS = auto()
    DECLINED = auto()
    INTERRUPTED = auto()
    INTERRUPTED_TWICE = auto()
    CRASHED = auto()
    INIT_BEGINS = auto()
    IMPORT_BEGINS = auto()
    OTHER_COMMAND_ENDS = auto()


_TOOL = r"(?:Terraform|OpenTofu)"
_NAME = r"[^\W\d][\w-]*"
_KEY = r'(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?'
# internal/addrs/resource.go, AbsResourceInstance.String
_ADDRESS = rf"(?P<address>(?:module\.{_NAME}{_KEY}\.)*(?:data\.|ephemeral\.)?{_NAME}\.{_NAME}{_KEY})"
_DEPOSED = r"(?: \(deposed object \w+\))?"

_PLAN = (
    r"Plan: (?:(?P<imported>\d+) to import, )?(?P<add>\d+) to add, (?P<change>\d+) to change, "
    r"(?P<remove>\d+) to destroy(?:, (?P<forgotten>\d+) to forget)?\.(?: Actions: \d+ to invoke\.)?"
)
_APPLIED = (
    r"Apply complete! Resources: (?:(?P<imported>\d+) imported, )?(?P<add>\d+) added, (?P<change>\d+) changed, "
    r"(?P<remove>\d+) destroyed(?:, (?P<forgotten>\d+) forgotten)?\.(?: Actions: \d+ invoked\.)?"
)
_INITIALIZING = (
    r"Initializing (?:the backend|the state store|provider plugins|modules|HCP Terraform|Terraform Cloud|cloud backend)"
    r"\b.*\.\.\."
)

# (first letters, whole line, source, what it says)
_LINES: tuple[tuple[str, str, str, Says], ...] = (
    ("TO", rf"{_TOOL} used the selected providers.*",
     "internal/command/jsonformat/plan.go, renderHuman (wrapped)", Says.PLANNING),
    ("TO", rf"{_TOOL} will perform the following actions:",
     "internal/command/jsonformat/plan.go, renderHuman", Says.PLANNING),
    ("TO", rf"{_TOOL} planned the following actions, but then encountered a problem:",
     "internal/command/jsonformat/plan.go, renderHuman", Says.PLAN_FAILED),
    ("P", rf"Planning failed\. {_TOOL} encountered an error while generating this plan\.",
     "internal/command/jsonformat/plan.go, renderHuman", Says.PLAN_FAILED),
    ("N", rf"Note: Objects have changed outside of {_TOOL}",
     "internal/command/jsonformat/plan.go, renderHumanDiffDrift", Says.PLANNING),
    ("T", rf"This is a refresh-only plan, so {_TOOL} .*",
     "internal/command/jsonformat/plan.go, renderHumanDiffDrift (wrapped)", Says.ONLY_REFRESHED),
    ("N", r"No changes\. Your infrastructure (?:still )?matches the configuration\.",
     "internal/command/jsonformat/plan.go, renderHuman", Says.NO_CHANGES),
    ("N", r"No changes\. No objects need to be destroyed\.",
     "internal/command/jsonformat/plan.go, renderHuman", Says.NO_CHANGES),
    ("N", r"No changes\. Infrastructure is up-to-date\.",
     "terraform v0.15.0 command/views/operation.go, planNoChanges", Says.NO_CHANGES),
    ("N", r"No current changes\. This plan requires another plan to be applied first\.",
     "terraform internal/command/jsonformat/plan.go, renderHuman", Says.NO_CHANGES),
    ("P", _PLAN,
     "internal/command/jsonformat/plan.go, renderHuman; forget: opentofu; Actions: terraform v1.15.9", Says.PLAN),
    ("C", r"Changes to Outputs:",
     "internal/command/jsonformat/plan.go, renderHuman", Says.OUTPUTS_CHANGE),
    ("Y", r"You can apply this plan to save these new output values.*",
     "internal/command/jsonformat/plan.go, renderHuman (wrapped)", Says.ONLY_OUTPUTS_CHANGE),
    ("S", r"Saved the plan to: .*",
     "internal/command/views/operation.go, planHeaderYesOutput", Says.PLAN_IS_OVER),
    ("N", r"Note: You didn't use the -out option to save this plan.*",
     "internal/command/views/operation.go, planHeaderNoOutput (wrapped)", Says.PLAN_IS_OVER),
    ("A", _APPLIED,
     "internal/command/views/apply.go, ApplyHuman.ResourceCount; forgotten: opentofu; Actions: terraform v1.15.9",
     Says.SUMMARY),
    ("D", r"Destroy complete! Resources: (?P<remove>\d+) destroyed\.(?: Actions: \d+ invoked\.)?",
     "internal/command/views/apply.go, ApplyHuman.ResourceCount; Actions: terraform v1.15.9", Says.SUMMARY),
    ("O", r"Outputs:",
     "internal/command/views/apply.go, ApplyHuman.Outputs", Says.OUTPUTS),
    ("AD", r"(?:Apply|Destroy) cancelled\.",
     "internal/command/views/operation.go, OperationHuman.Cancelled", Says.DECLINED),
    ("I", r"Interrupt received\.",
     "internal/command/views/operation.go, interrupted", Says.INTERRUPTED),
    ("T", r"Two interrupts received\. Exiting immediately\..*",
     "internal/command/views/operation.go, fatalInterrupt (wrapped)", Says.INTERRUPTED_TWICE),
    ("!", r"!{8,} (?:TERRAFORM|OPENTOFU) CRASH !{8,}",
     "internal/logging/panic.go, panicOutput", Says.CRASHED),
    ("p", r"panic: .*",
     "internal/logging/panic.go, panicHandler; golang/go src/runtime/panic.go, printpanics", Says.CRASHED),
    ("f", r"fatal error: .*",
     "golang/go src/runtime/panic.go, fatalthrow", Says.CRASHED),
    ("S", r"SIGQUIT: quit",
     "golang/go src/runtime/signal_unix.go, sighandler", Says.CRASHED),
    ("g", r"goroutine \d+ (?:[a-z]+=\S+ )*\[[^\]]*\]:",
     "golang/go src/runtime/traceback.go, goroutineheader", Says.CRASHED),
    ("I", _INITIALIZING,
     "internal/command/views/init.go, MessageRegistry", Says.INIT_BEGINS),
    ("U", r"Upgrading modules\.\.\.",
     "internal/command/views/init.go, MessageRegistry", Says.INIT_BEGINS),
    ("THO", rf"(?:HCP )?{_TOOL}(?: Cloud)? (?:has been successfully initialized|initialized in an empty directory)!",
     "internal/command/views/init.go, outputInitSuccess, outputInitSuccessCloud and outputInitEmpty",
     Says.OTHER_COMMAND_ENDS),
    ("I", r"Import successful!",
     "internal/command/import.go, importCommandSuccessMsg", Says.OTHER_COMMAND_ENDS),
    ("SF", r"(?:Success|Failure)! \d+ passed.*",
     "internal/command/views/test.go, TestHuman.Conclusion", Says.OTHER_COMMAND_ENDS),
)  # fmt: skip

# internal/command/views/hook_ui.go: PreApply, PostApply, PreRefresh, PrePlanImport, PreApplyImport, PreEphemeralOp
REFRESHING = ("Refreshing state...", "Preparing import...")
READING = ("Reading...", "Opening...")
CHANGING = ("Creating...", "Modifying...", "Destroying...")
CHANGED = ("Creation complete after", "Modifications complete after", "Destruction complete after")
IMPORTING = "Importing..."
BEGUN = (*REFRESHING, *READING, *CHANGING, IMPORTING)
READ = "Read complete after"
_HOOKS: tuple[tuple[re.Pattern[str], Says], ...] = (
    (
        re.compile(
            rf"{_ADDRESS}{_DEPOSED}: (?P<said>(?:{'|'.join(map(re.escape, (*CHANGED, READ)))})(?= )"
            rf"|(?:{'|'.join(map(re.escape, (*REFRESHING, *READING, *CHANGING, IMPORTING)))}))(?: [^\s\[]+)?(?: \[.*)?"
        ),
        Says.HOOK,
    ),
    # The same file, PreImportState: only `terraform import` comes there
    (re.compile(rf"{_ADDRESS}: Importing from ID \".*\"\.\.\."), Says.IMPORT_BEGINS),
)


def _by_first() -> dict[str, tuple[tuple[re.Pattern[str], Says], ...]]:
    rows: dict[str, list[tuple[re.Pattern[str], Says]]] = {}
    for letters, pattern, _source, says in _LINES:
        for letter in letters:
            rows.setdefault(letter, []).append((re.compile(pattern), says))
    no_address = dict.fromkeys("{[", ())  # JSON that other programs print, and Terraform's own UI without its beginning
    return {letter: (*made, *_HOOKS) for letter, made in rows.items()} | no_address


_BY_FIRST = _by_first()


def find(text: str) -> tuple[Says, re.Match[str]] | None:
    """What a plain line at the first column says; None when it is none of ours."""
    for pattern, says in _BY_FIRST.get(text[0], _HOOKS):
        if found := pattern.fullmatch(text):
            return says, found
    return None


# --- diagnostics ----------------------------------------------------------------------------------------------

# internal/command/format/diagnostic.go, DiagnosticFromJSON and DiagnosticPlainFromJSON: "Error: " and the summary
ERROR = re.compile(r"Error: (?P<summary>.+)")
DIAGNOSTIC = re.compile(r"(?:Error|Warning): .*")
WARNING = "Warning: "
BOX_TOP = "╷"
# The same file, appendSourceSnippets: the first line behind the summary
WITH = re.compile(r"  with (?P<address>\S.{0,1000}),")
# internal/states/statemgr/locker.go, LockInfo.String
HOLDER = re.compile(r"  ID: +(?P<lock_id>\S{1,64})\s*")
# internal/command/clistate/state.go, LockErrorMessage
LOCK_DETAIL_ENDS = re.compile(rf"{_TOOL} acquires a state lock to .*")
# terraform internal/command/show.go, show: the one error that a log named after its plan file may hold
NOT_OF_A_RUN = ("Failed to read the given file as a state or plan file",)
# internal/command/ui_input.go, Input
QUESTION = "Enter a value:"

# --- the plan -------------------------------------------------------------------------------------------------

# internal/command/jsonformat/plan.go, resourceChangeComment; one space before # where Terraform forgets
COMMENT = re.compile(
    rf" {{1,2}}# {_ADDRESS}{_DEPOSED} "
    r"(?P<what>will be (?:created|updated in-place|destroyed|imported|read during apply)"
    r"|(?:must be|is tainted, so (?:it )?must be|will be) replaced.*|has moved to (?P<new>\S.*)"
    r"|will (?:no longer be managed by|be removed from)(?: the)? (?:Terraform|OpenTofu)(?: state)?,? "
    r"but will not be destroyed ?)"
)
READ_DURING_APPLY = "will be read during apply"
_ACTIONS = (
    ("will be created", "create"),
    ("will be updated", "update"),
    ("will be destroyed", "delete"),
    ("will be imported", "import"),
    ("will be removed", "remove"),
    ("will no longer", "remove"),
    ("has moved", "move"),
)


def action_of(what: str) -> str:
    """What a plan's comment says of a resource, in the words of the JSON UI."""
    return next((action for words, action in _ACTIONS if what.startswith(words)), "replace")


# The same function; the words are those of internal/command/views/json/change.go, changeReason
BECAUSE = re.compile(r"  # \(because (?P<why>.*)\)")
_REASONS = (
    (re.compile(r".* was moved to .*, which is not in configuration"), "delete_because_no_move_target"),
    (re.compile(r"module\..* is not in configuration"), "delete_because_no_module"),
    (re.compile(r".* is not in configuration"), "delete_because_no_resource_config"),
    (re.compile(r"resource (?:uses|does not use) .*"), "delete_because_wrong_repetition"),
    (re.compile(r"index \[.*\] is out of range for count"), "delete_because_count_index"),
    (re.compile(r"key \[.*\] is not in for_each map"), "delete_because_each_key"),
    (re.compile(r"enabled is false"), "delete_because_enabled_false"),  # opentofu
)


def reason_of(why: str) -> str:
    """Why a resource is to be deleted although nobody asked to destroy it; empty when it does not say."""
    return next((reason for pattern, reason in _REASONS if pattern.fullmatch(why)), "")


_WORD = re.compile(r"[a-z]+")
_RUNS = frozenset({"plan", "apply", "destroy", "tfplan", "tfapply", "tfdestroy"})
_OTHERS = frozenset(
    {"console", "fmt", "graph", "import", "init", "lint", "output", "outputs", "providers", "show", "state", "taint",
     "test", "untaint", "validate", "workspace"}
)  # fmt: skip


def names_a_run(name: str) -> bool:
    """Whether a log's name says that plan, apply or destroy writes it, and no other command."""
    words = set(_WORD.findall(name.lower()))
    return not words.isdisjoint(_RUNS) and words.isdisjoint(_OTHERS)


# --- what is not a run's --------------------------------------------------------------------------------------

# internal/repl/format.go, formatMultilineString: outputs of several lines, at the first column
HEREDOC = re.compile(r"[\w-]+ += <<-?(?P<delimiter>EOT_*)")
# internal/command/views/test.go, TestHuman.File
TEST_FILE = re.compile(r"\S.*\.(?:tftest|tofutest)\.(?:hcl|json)\.\.\. .*")
# internal/command/views/apply.go, as a provisioner of the run may print it (hook_ui.go, ProvisionOutput) ...
SUMMARY_WORDS = "complete! Resources: "
# ... and internal/terraform/node_resource_abstract_instance.go, applyProvisioners: where it may have printed anything
SUPPRESSED = "(output suppressed due to "
