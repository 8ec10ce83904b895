"""``policy`` and ``log``: what the site's own rules say, and everything that was asked and released."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from protocol.errors import ProtocolError
from protocol.identifiers import StudyId
from protocol.plan import PROFILE_THRESHOLDS, Profile
from protocol.policy import EffectiveRules, NoisePolicy, SitePolicy, effective, policy_or_refuse, write_policy
from shared.errors import InputError, RefusedError
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import PRIVATE, write_atomically
from site_agent.home import POLICY_FILE, Home, open_home
from site_agent.release.standing_decisions import verify_decisions
from site_agent.release.summaries import lot_fingerprint
from site_agent.review.commands import home_option

_PATH: Final = click.Path(path_type=Path)
STRICT_NOISE: Final = NoisePolicy(epsilon_per_release=1.0, epsilon_budget=4.0)
"""What a first policy of the profile ``strict`` asks for; the site may change it or leave it out."""


@click.group("policy")
def policy() -> None:
    """Show, explain and check the site's own policy: what may leave, and who may ask."""


@policy.command("show")
@home_option
@json_option
def policy_show(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show the policy, and the rules in force for every study that this site was asked about."""
    home = open_home(home_folder)
    own = policy_or_refuse(home.policy())
    studies = {study: _rules_or_code(home, own, study) for study in _studies(home)}
    budgets = noise_budgets(home, own)
    if as_json:
        document = {study: _as_document(rules) for study, rules in studies.items()}
        left = {lot: {"spent": float(spent), "left": float(left)} for lot, spent, left in budgets}
        print_json({**own.model_dump(mode="json"), "sha256": own.sha256, "in_force": document, "noise_budgets": left})
        return
    print_table(f"Policy of {own.site}, version {own.version}", ("setting", "value"), _settings(own))
    rows = [(study, *_rule_cells(rules)) for study, rules in studies.items()]
    if rows:
        columns = ("study", "profile", "cells a lot", "counts hidden below", "lots a site", "auto-approved")
        print_table("In force, the stricter of site and study", columns, rows)
    if budgets:
        spendings = [(lot, str(spent), str(left)) for lot, spent, left in budgets]
        print_table("Epsilon by lot", ("lot", "spent", "left"), spendings)


@policy.command("create")
@click.option("--study", "studies", multiple=True, required=True, help="A study that may be answered; again for more.")
@click.option(
    "--profile", type=click.Choice([each.value for each in Profile]), default=Profile.STANDARD.value, show_default=True
)
@click.option(
    "--noise",
    type=(float, float),
    metavar="EPSILON BUDGET",
    help="Noise on counts: what a draw costs, and each lot's budget over all studies.  [strict: 1 4; others: none]",
)
@home_option
@json_option
def policy_create(
    studies: tuple[str, ...],
    profile: str,
    noise: tuple[float, float] | None,
    home_folder: Path,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Write a first policy.toml, explained line by line; it names this home's coordinator. Nothing is auto-approved."""
    home = open_home(home_folder)
    path = home.folder / POLICY_FILE
    if path.exists():
        raise RefusedError(f"{path}: a policy is here already", hint="edit it, and raise its version")
    wanted = _noise_of(noise, Profile(profile))
    try:
        own = SitePolicy(
            version=1,
            site=home.site,
            profile=Profile(profile),
            allowed_studies=tuple(StudyId(study) for study in studies),
            allowed_coordinators=(home.coordinator.fingerprint,),
            noise=wanted,
        )
    except ValidationError as error:
        raise InputError(f"--study: expected a study's identifier: {error.errors()[0]['msg']}") from None
    write_atomically(path, write_policy(own), mode=PRIVATE)
    if as_json:
        print_json({"success": True, "policy": str(path), "sha256": own.sha256})
        return
    for sentence in explained(own):
        click.echo(f"- {sentence}")
    remark(f"wrote {path}; compare the coordinator's key: {home.coordinator.fingerprint}")


@policy.command("explain")
@home_option
def policy_explain(home_folder: Path) -> None:
    """Say in plain words what the policy lets out."""
    for sentence in explained(policy_or_refuse(open_home(home_folder).policy())):
        click.echo(f"- {sentence}")


@policy.command("check")
@home_option
@json_option
def policy_check(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Check the policy: can it be read, is it this site's, does it allow this coordinator. Exits with 1 if not."""
    home = open_home(home_folder)
    own = policy_or_refuse(home.policy())
    problems = []
    if own.site != home.site:
        problems.append(f"site: expected {home.site}, found {own.site}: nothing leaves")
    if home.coordinator.fingerprint not in own.allowed_coordinators:
        problems.append(f"allowed_coordinators: expected {home.coordinator.fingerprint}, not found: nothing leaves")
    if not own.allowed_studies:
        problems.append("allowed_studies: it is empty: nothing leaves")
    if as_json:
        print_json({"success": not problems, "sha256": own.sha256, "version": own.version, "problems": problems})
    else:
        for problem in problems:
            click.echo(f"problem: {problem}")
        click.echo(f"policy version {own.version}, SHA-256 {own.sha256}" + ("" if problems else ": no problem"))
    if problems:
        click.get_current_context().exit(1)


@click.group("log")
def log() -> None:
    """Read and verify the ledger: everything that was asked of this site and released by it."""


@log.command("show")
@home_option
@json_option
def log_show(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show every entry, oldest first; the ledger is verified on the way."""
    home = open_home(home_folder)
    entries = home.ledger().verify(home.checkpoints())
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    names: dict[str, str] = {}
    for study in {entry.record.study for entry in entries if entry.record.study is not None}:
        names.update({str(pseudonym): name for pseudonym, name in home.own_names(study).items()})
    rows = [
        (
            str(entry.number),
            entry.record.at,
            entry.record.event.value + (" (by policy)" if entry.record.automatic else ""),
            entry.record.study or "",
            names.get(entry.record.lot or "", entry.record.lot or ""),
            entry.record.code.value if entry.record.code else "",
            (entry.record.subject_sha256 or "")[:12],
        )
        for entry in entries
    ]
    print_table(f"Ledger of {home.site}", ("entry", "at", "event", "study", "lot", "code", "SHA-256"), rows)


@log.command("verify")
@home_option
@click.option("--checkpoint", "given", type=_PATH, multiple=True, help="A checkpoint, as from a bundle; give it again.")
@json_option
def log_verify(home_folder: Path, given: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Find any entry that was changed, removed, added or moved, and any end that a checkpoint saw and is gone.

    Checkpoints are taken from the home's checkpoints/ and from the files given; those of other sites are passed over.
    Of every decision in the airlock the steward's signature is looked at too.
    """
    home = open_home(home_folder)
    checkpoints = [each for each in home.checkpoints(*given) if each.site == home.site]
    entries = home.ledger().verify(checkpoints)
    covered = max((checkpoint.length for checkpoint in checkpoints), default=0)
    decisions = verify_decisions(home.airlock().persons_decisions(), home.site, home.steward())
    if as_json:
        found = {"entries": len(entries), "checkpoints": len(checkpoints), "covered": covered, "decisions": decisions}
        print_json({"success": True, **found})
        return
    click.echo(f"The ledger holds: {len(entries)} entries, {covered} of them countersigned by the coordinator.")
    click.echo(f"The airlock holds: {decisions} decisions, each signed by the steward.")
    if covered < len(entries):
        remark("entries after the last checkpoint could be cut from the end unseen, until the next one comes")


def noise_budgets(home: Home, own: SitePolicy) -> list[tuple[str, Decimal, Decimal]]:
    """Return each lot's own name, the epsilon that it has spent, and what is left; nothing without noise."""
    if own.noise is None:
        return []
    budget, book, secret = Decimal(repr(own.noise.epsilon_budget)), home.noise_book(), home.secret()
    spent = [(lot, book.spent(lot_fingerprint(lot, secret))) for lot in home.lot_names()]
    return [(lot, used, max(budget - used, Decimal(0))) for lot, used in spent]


def explained(own: SitePolicy) -> list[str]:
    """Return what a policy lets out, in plain sentences."""
    thresholds, profile = PROFILE_THRESHOLDS[own.profile], own.profile
    cells = own.thresholds.minimum_cells_per_lot or thresholds.minimum_cells_per_lot
    small = own.thresholds.small_count_threshold
    small = thresholds.small_count_threshold if small is None else small
    lots = own.thresholds.minimum_lots_per_site or thresholds.minimum_lots_per_site
    hidden = f"Counts of 1 to {small - 1} cells leave as that range" if small > 1 else "Counts leave exactly"
    sentences = [
        f"Studies that may be answered: {', '.join(own.allowed_studies) or 'none, so nothing leaves'}.",
        f"Coordinators that are believed: {len(own.allowed_coordinators)}.",
        f"A lot of fewer than {cells} cells after QC is not reported; a site with fewer than {lots} lots reports none.",
        hidden + ("; zeros are hidden with them, and all counts leave in steps." if profile is Profile.STRICT else "."),
        "A study may ask for stricter thresholds, never for laxer ones.",
    ]
    lowered = {
        "cells a lot": cells < thresholds.minimum_cells_per_lot,
        "small counts": small < thresholds.small_count_threshold,
        "lots a site": lots < thresholds.minimum_lots_per_site,
    }
    below = [name for name, is_lower in lowered.items() if is_lower]
    if below:
        sentences.append(f"This site has lowered its own thresholds below its profile's: {', '.join(below)}.")
    if own.noise is not None:
        sentences.append(
            f"Counts leave with discrete Laplace noise: epsilon {own.noise.epsilon_per_release:g} a draw, and at most "
            f"{own.noise.epsilon_budget:g} of each lot over all studies. It hides a cell, not a donor."
        )
    if own.withheld_fields:
        sentences.append(f"Never told: {', '.join(field.value for field in own.withheld_fields)}.")
    sentences.append(
        f"Without a person's look, where every rule passes: {', '.join(own.auto_approve)}."
        if own.auto_approve
        else "Nothing leaves without a steward's signature."
    )
    return sentences


def _studies(home: Home) -> list[str]:
    return sorted(path.parent.name for path in (home.folder / "studies").glob("*/plan.json"))


def _rules_or_code(home: Home, own: SitePolicy, study: str) -> EffectiveRules | ProtocolError:
    try:
        return effective(own, home.plan(StudyId(study)).message)
    except ProtocolError as error:
        return error


def _settings(own: SitePolicy) -> list[tuple[str, str]]:
    thresholds = own.thresholds.model_dump(mode="json")
    return [
        ("profile", own.profile.value),
        ("allowed studies", ", ".join(own.allowed_studies) or "none"),
        ("allowed coordinators", ", ".join(key[:16] for key in own.allowed_coordinators) or "none"),
        ("approved unseen", ", ".join(own.auto_approve) or "none"),
        ("withheld fields", ", ".join(field.value for field in own.withheld_fields) or "none"),
        *(
            (name.replace("_", " "), "the profile's" if value is None else str(value))
            for name, value in thresholds.items()
        ),
        ("noise", _noise_words(own.noise)),
        ("SHA-256", own.sha256),
    ]


def _noise_of(given: tuple[float, float] | None, profile: Profile) -> NoisePolicy | None:
    if given is None:
        return STRICT_NOISE if profile is Profile.STRICT else None
    try:
        return NoisePolicy(epsilon_per_release=given[0], epsilon_budget=given[1])
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--noise: {problem}", hint="such as --noise 1 4") from None


def _noise_words(noise: NoisePolicy | None) -> str:
    if noise is None:
        return "none"
    return f"epsilon {noise.epsilon_per_release:g} a draw, {noise.epsilon_budget:g} a lot"


def _rule_cells(rules: EffectiveRules | ProtocolError) -> tuple[str, ...]:
    if isinstance(rules, ProtocolError):
        return (f"refused: {rules.code.value}", "", "", "", "")
    named = [rules.minimum_cells, rules.small_count, rules.minimum_lots]
    thresholds = [f"{each.value} ({each.owner.value}'s)" for each in named]
    return (rules.applied.value, *thresholds, "yes" if rules.auto_approved else "no")


def _as_document(rules: EffectiveRules | ProtocolError) -> dict[str, Any]:
    if isinstance(rules, ProtocolError):
        return {"refused": rules.code.value}
    named = {"minimum_cells": rules.minimum_cells, "small_count": rules.small_count, "minimum_lots": rules.minimum_lots}
    return {
        "profile": rules.applied.value,
        **{name: {"value": each.value, "owner": each.owner.value} for name, each in named.items()},
        "auto_approved": rules.auto_approved,
    }
