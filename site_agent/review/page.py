"""The review as pages: HTML from templates, complete without scripts, a mouse, colours or a network.

Everything that a report holds is escaped: what a lot is called is text, never markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound

from protocol.steward import Meaning
from site_agent.release.decisions import State
from site_agent.release.verdicts import Outcome
from site_agent.review.model import AfterWithholding, HeldBackLine, ReviewItem
from site_agent.review.shown import RISKS, counted, headline, purpose, verdict_cells, verdict_rows

_FOLDER: Final = files("site_agent.review") / "pages"
_TURN: Final = {
    State.PENDING: "yours",
    State.APPROVED: "the agent's: it sends when it is asked next",
    State.SENT: "nobody's",
    State.REFUSED: "nobody's",
    State.VOIDED: "nobody's",
}
_HEADING: Final = {
    State.PENDING: "Nothing of this report has left",
    State.APPROVED: "Approved, not yet sent",
    State.SENT: "Sent",
    State.REFUSED: "Refused: nothing of this report has left",
    State.VOIDED: "Void: nothing of this report has left",
}


_WITHHOLDING: Final = (
    "Their counts shrink to orders of magnitude, in this and every later report of the lot. What waits now is void; "
    "what takes its place waits for your approval."
)


class _Pages(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:
        del environment
        path = _FOLDER / template
        if not path.is_file():
            raise TemplateNotFound(template)
        return path.read_text(encoding="utf-8"), None, None


_TEMPLATES: Final = Environment(
    loader=_Pages(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every page shows around its own content."""

    site: str
    idle_minutes: int
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class FormState:
    """What a form holds: its one-time name, its token, and what was typed before a mistake."""

    form: str
    csrf: str
    by: str = ""
    reason: str = ""
    chosen: tuple[str, ...] = ()


def style() -> bytes:
    """Return the one style sheet."""
    return (_FOLDER / "style.css").read_bytes()


def list_page(items: Sequence[ReviewItem], held_back: Sequence[HeldBackLine], frame: Frame) -> bytes:
    """Return the page of everything in the airlock, and of what a rule kept out of it."""
    rows = [(item, counted(item.verdicts) if item.verdicts else item.problem, _TURN[item.held.state]) for item in items]
    automatic = any(item.rules is not None and item.rules.auto_approved for item in items)
    return _page("list.html.j2", frame, headline=headline(items), items=rows, automatic=automatic, held_back=held_back)


def report_page(item: ReviewItem, newer: str, frame: Frame) -> bytes:
    """Return the page of one report; ``newer`` is the hash of what took its place, "" where nothing did."""
    return _page(
        "report.html.j2",
        frame,
        heading=_HEADING[item.held.state],
        item=item,
        lot=item.lot_name or item.held.lot,
        purpose=purpose(item),
        payload=item.held.payload.decode("utf-8"),
        verdicts=verdict_rows(item),
        changes=sum(line.changed for line in item.lines),
        risks=RISKS,
        why_not=item.why_not_approvable,
        newer=newer,
    )


def confirm_page(
    act: str, item: ReviewItem, state: FormState, frame: Frame, *, after: AfterWithholding | None = None
) -> bytes:
    """Return the page that asks to confirm an act: approve, refuse or withhold."""
    lot = item.lot_name or item.held.lot
    warnings = [verdict.reason for verdict in item.verdicts if verdict.outcome is Outcome.REVIEW]
    texts = {
        "approve": (
            f"Approve the release of lot {lot}?",
            "Exactly these bytes may then leave for the coordinator when it asks next. You cannot take it back.",
            "approve for release",
            "Sign and approve",
            Meaning.APPROVED_FOR_RELEASE.value,
        ),
        "refuse": (
            f"Refuse the release of lot {lot}?",
            "Nothing of this report will leave. The coordinator is told that you refused, and not why.",
            "refuse",
            "Sign and refuse",
            Meaning.REFUSED_FOR_RELEASE.value,
        ),
        "withhold": (
            f"Withhold clusters of lot {lot}?",
            f"To be withheld: {', '.join(state.chosen)}. {_WITHHOLDING}",
            "withhold clusters",
            "Sign and withhold",
            Meaning.CLUSTERS_WITHHELD.value,
        ),
    }
    heading, consequence, action, button, meaning = texts[act]
    return _page(
        "confirm.html.j2",
        frame,
        act=act,
        item=item,
        lot=lot,
        heading=heading,
        consequence=consequence,
        action=action,
        button=button,
        meaning=meaning,
        reason_required=act == "refuse" or (act == "approve" and bool(warnings)),
        warnings=warnings if act == "approve" else [],
        after=after is not None,
        lines=[line for line in after.lines if line.changed] if after else (),
        verdicts=[verdict_cells(verdict, item) for verdict in after.verdicts] if after else (),
        form=state.form,
        csrf=state.csrf,
        by=state.by,
        reason=state.reason,
        chosen=state.chosen,
    )


def message_page(heading: str, text: str, frame: Frame, *, back: str = "") -> bytes:
    """Return a page that says one thing."""
    return _page("message.html.j2", frame, heading=heading, text=text, back=back)


def _page(template: str, frame: Frame, **values: Any) -> bytes:  # noqa: ANN401 - what a template takes
    page = _TEMPLATES.get_template(template)
    return page.render(site=frame.site, idle_minutes=frame.idle_minutes, said=frame.said, **values).encode("utf-8")
