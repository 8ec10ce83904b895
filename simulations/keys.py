"""Keys of simulated parties, derived from the study's seed so that a run repeats to the byte.

They protect nothing: anyone who knows the seed has them. Real parties make theirs with the system's randomness.
"""

import hashlib

from protocol.identifiers import SiteId, StudyId
from protocol.signing import SigningKey


def _derived(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\0".join(["crosslot simulated key", str(seed), *names]).encode()).digest()


def coordinator_key(study: StudyId, seed: int) -> SigningKey:
    """Return the simulated coordinator's signing key."""
    return SigningKey.from_seed(_derived(seed, study, "coordinator"))


def site_key(study: StudyId, seed: int, site: SiteId) -> SigningKey:
    """Return a simulated site's signing key."""
    return SigningKey.from_seed(_derived(seed, study, "site", site))


def pseudonym_secret(study: StudyId, seed: int, site: SiteId) -> bytes:
    """Return a simulated site's 32-byte secret for pseudonyms."""
    return _derived(seed, study, "pseudonyms", site)


def nonce(study: StudyId, seed: int, number: int) -> str:
    """Return the ``number``-th nonce of a simulated coordinator, 32 hexadecimal digits."""
    return _derived(seed, study, "nonce", str(number)).hex()[:32]
