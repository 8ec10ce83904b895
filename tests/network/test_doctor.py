"""The doctor: a named state for whatever hinders a site, and PASSED for the rest."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocol.certificates import Pair, issue_site, new_request
from protocol.identifiers import Sha256, SiteId, StudyId
from protocol.plan import Profile
from protocol.policy import SitePolicy, write_policy
from shared.runtime.processes import free_port
from site_agent.network import doctor, greeting
from site_agent.network.doctor import PASSED, examine
from site_agent.network.keys import NetworkHome
from tests.network.conftest import LiveGateway


def states(home: NetworkHome) -> dict[str, str]:
    return {finding.check: finding.state for finding in examine(home)}


@pytest.fixture
def site(gateway: LiveGateway) -> NetworkHome:
    home = gateway.join("kyoto")
    for name in ("lots.csv", "potency.csv"):
        (home.folder / name).touch()
    (home.folder / "policy.toml").write_bytes(policy_of(gateway.home.key.fingerprint))
    return home


def policy_of(*coordinators: str, site: str = "kyoto") -> bytes:
    return write_policy(
        SitePolicy(
            version=1,
            site=SiteId(site),
            profile=Profile.STANDARD,
            allowed_studies=(StudyId("vegf-2026"),),
            allowed_coordinators=tuple(Sha256(each) for each in coordinators),
        )
    )


def test_a_sound_site_passes_everything(site: NetworkHome) -> None:
    found = states(site)
    assert set(found.values()) == {PASSED}
    assert {
        "python",
        "flower",
        "disk",
        "keys",
        "data",
        "joined",
        "policy",
        "network",
        "coordinator",
        "versions",
        "clock",
    } <= set(found)


def test_a_site_that_has_not_joined_is_told_so(tmp_path: Path) -> None:
    assert states(NetworkHome(tmp_path))["joined"] == "not-joined"


def test_skewed_clocks_are_told(gateway: LiveGateway, site: NetworkHome) -> None:
    gateway.clock.now = datetime.now(UTC) + timedelta(minutes=11)
    assert states(site)["clock"] == "clock-skew"
    gateway.clock.now = datetime.now(UTC) - timedelta(minutes=11)
    assert states(site)["clock"] == "clock-skew"


def test_another_version_is_told(site: NetworkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "version", lambda name: "9.9.9" if name == "crosslot" else "1.41.0")
    assert states(site)["versions"] == "version-mismatch"


def test_another_flower_is_told(site: NetworkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda _name: "1.40.0")
    assert states(site)["flower"] == "flower-version"


def test_a_full_disk_is_told(site: NetworkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10**6

    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage)
    assert states(site)["disk"] == "disk-full"


def test_an_unreachable_coordinator_is_told(site: NetworkHome) -> None:
    path = site.folder / "network.toml"
    path.write_text(path.read_text().replace(site.settings.address, f"127.0.0.1:{free_port()}"))
    found = states(site)
    assert (found["network"], found["coordinator"]) == ("unreachable", "no-answer")


def test_a_revoked_site_is_told(gateway: LiveGateway, site: NetworkHome) -> None:
    gateway.enrolments.revoke(site.settings.site, now=datetime.now(UTC))
    assert states(site)["coordinator"] == "no-answer"


def test_keys_that_others_can_read_are_told(site: NetworkHome) -> None:
    site.key_file("client.key").chmod(0o644)
    assert states(site)["keys"] == "keys-readable"


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        (policy_of("0" * 64), "coordinator-not-allowed"),
        (policy_of("0" * 64, site="leiden"), "policy-damaged"),
        (b"not toml =", "policy-damaged"),
    ],
)
def test_a_policy_that_would_answer_nothing_is_told(site: NetworkHome, policy: bytes, state: str) -> None:
    (site.folder / "policy.toml").write_bytes(policy)
    assert states(site)["policy"] == state


def test_absent_tables_are_told(site: NetworkHome) -> None:
    (site.folder / "policy.toml").unlink()
    found = states(site)
    assert (found["data"], found["policy"]) == ("data-missing", "policy-missing")


def test_an_expired_certificate_is_told(gateway: LiveGateway, site: NetworkHome) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2_000)
    key = site.client.key
    certificate = issue_site(gateway.home.authority, new_request(key, "kyoto"), "kyoto", long_ago)
    site.key_file("client.crt").write_bytes(Pair(certificate=certificate, key=key).certificate)
    assert states(site)["certificate"] == "certificate-expired"
