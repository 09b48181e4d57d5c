"""What `sinks list` and `sinks test` say: a row for each sink of the settings, and one for what came of a test.

The keys are a written contract (docs/commands.md).
"""

from __future__ import annotations

from .domain.explanations import EXPLANATIONS
from .domain.outbox import Outcome, OutcomeKind
from .domain.retry import ACCEPTANCES
from .journal_reading import JournalReader
from .moments import iso
from .overview import sink_rows
from .settings import Settings, SinkSettings
from .settings.sink_keys import where
from .sink_trial import Trial
from .status import Row

_NO_TEST = "it takes whatever it is told for the status of a deployment, so it was only asked whether it is there"
_LATE = "the agent has not sent it in time: has it read these settings (`systemctl reload`), or is the sink held up?"


def rows(settings: Settings, journal: JournalReader, now: float) -> list[Row]:
    """Every sink of the settings, in their order."""
    does = {row["sink"]: row for row in sink_rows(journal, now, [sink.name for sink in settings.sink])}
    return [_row(journal, sink, does[sink.name]) for sink in settings.sink]


def _row(journal: JournalReader, sink: SinkSettings, does: Row) -> Row:
    (accepted,) = journal.query("last_accepted", sink=sink.name)
    return {
        "sink": sink.name, "type": sink.type, "where": where(sink),
        "only": list(sink.only), "resources": list(sink.resources), "directories": list(sink.directories),
        "unbound": sink.unbound, "shadow": sink.shadow,
        **{key: value for key, value in does.items() if key != "sink"},
        "last_accepted_at": iso(accepted["at"]),
    }  # fmt: skip


def trial_row(sink: SinkSettings, trial: Trial) -> Row:
    """What came of a test. ok: whether it arrived or, where none can be sent, the sink is there."""
    outcome = trial.outcome
    reached = ACCEPTANCES if trial.told else (*ACCEPTANCES, OutcomeKind.DENIED)
    ok = outcome is not None and outcome.kind in reached
    why = EXPLANATIONS[outcome.kind] if outcome is not None and not ok else None
    return {
        "sink": sink.name, "type": sink.type, "where": where(sink), "ok": ok,
        "id": trial.told.notification_id if trial.told else None, "by_agent": trial.by_agent,
        "outcome": outcome.kind.value if outcome else None, "code": outcome.code or None if outcome else None,
        "http_status": outcome.http_status if outcome else None,
        "note": None if trial.told and outcome else _LATE if trial.told else _NO_TEST,
        "means": why.means if why else None, "remedy": _remedy(sink, outcome, why.remedy) if why and outcome else None,
    }  # fmt: skip


def _remedy(sink: SinkSettings, outcome: Outcome, remedy: str) -> str:
    if outcome.code != "CredentialMissing":
        return remedy
    if sink.shadow:
        return "systemd hands its credentials to the service alone, which sends a shadow nothing: take `shadow` out"
    return "systemd hands its credentials to the service alone: start the agent, which sends the test then"
