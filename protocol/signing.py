"""Ed25519 keys (RFC 8032): who signs, who is believed.

A key is named by its fingerprint, the SHA-256 of its 32 public bytes (SPEC 2.1). A private key leaves memory only as a
file that no one but its owner can read; a file that others can read is refused, since its key must be taken as lost.
Verification raises and never returns a Boolean.
"""

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocol.codec import sha256
from protocol.errors import ErrorCode, SignatureError
from protocol.identifiers import Sha256
from shared.errors import InputError, RefusedError

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_KEY_FILE_LIMIT: Final = 16_384
_PUBLIC_HEX: Final = re.compile(r"[0-9a-f]{64}")


class VerifyingKey:
    """The public half of a key: checks signatures, and may be shown to anyone."""

    __slots__ = ("_bytes", "_key")

    def __init__(self, public_bytes: bytes) -> None:
        if len(public_bytes) != PUBLIC_KEY_BYTES:
            raise InputError(f"a public key: expected {PUBLIC_KEY_BYTES} bytes, found {len(public_bytes)}")
        self._bytes = public_bytes
        self._key = Ed25519PublicKey.from_public_bytes(public_bytes)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Return the key that 64 lower-case hexadecimal digits spell.

        Raises
        ------
        InputError
            If ``text`` is anything else.
        """
        if not _PUBLIC_HEX.fullmatch(text):
            raise InputError("a public key: expected 64 lower-case hexadecimal digits")
        return cls(bytes.fromhex(text))

    @property
    def fingerprint(self) -> Sha256:
        """The key's name: the SHA-256 of its public bytes (SPEC 2.1)."""
        return sha256(self._bytes)

    def to_hex(self) -> str:
        """Return the public bytes as 64 hexadecimal digits."""
        return self._bytes.hex()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` is this key's over ``data``.

        Raises
        ------
        SignatureError
            Otherwise.
        """
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            raise SignatureError(ErrorCode.BAD_SIGNATURE, f"Checked with key {self.fingerprint[:16]}.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and other._bytes == self._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.fingerprint[:16]})"


class SigningKey:
    """A private key. It shows its public half and signs; nothing prints its secret."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """Return a new key from the system's source of randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Return the key of a 32-byte seed: for simulations and vectors only, where runs must repeat exactly.

        Raises
        ------
        InputError
            If the seed has another length.
        """
        if len(seed) != SEED_BYTES:
            raise InputError(f"a key's seed: expected {SEED_BYTES} bytes, found {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> Self:
        """Return the key that a PEM file holds.

        Raises
        ------
        InputError
            If the file is absent, no Ed25519 key in PEM, or the passphrase does not open it.
        RefusedError
            If anyone but the owner can read the file, or it is no regular file.
        """
        try:
            pem = _read_private(path)
            key = load_pem_private_key(pem, passphrase)
        except OSError as error:
            raise InputError(f"{path}: cannot read the signing key: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else "not a key"
            raise InputError(
                f"{path}: expected an Ed25519 key in PEM: {reason}", hint="check the file and its passphrase"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(f"{path}: expected an Ed25519 key, found another algorithm")
        return cls(key)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write the key as PKCS #8 PEM, mode 0600; an existing file is never replaced.

        Raises
        ------
        InputError
            If the file exists or cannot be written.
        """
        protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise InputError(
                f"{path}: a file is there already", hint="a lost key cannot be had again: move the old one first"
            ) from None
        except OSError as error:
            raise InputError(f"{path}: cannot write the signing key: {error.strerror}") from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise InputError(f"{path}: cannot write the signing key: {error.strerror}") from None

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self._key.public_key().public_bytes_raw())

    @property
    def fingerprint(self) -> Sha256:
        """The key's name (SPEC 2.1)."""
        return self.verifying_key.fingerprint

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over ``data``; messages are signed by ``protocol.envelopes``."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey({self.fingerprint[:16]})"


def _read_private(path: Path) -> bytes:
    # Opened once and asked by descriptor: what is checked is what is read.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{path}: expected a regular file")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise RefusedError(
                f"{path}: expected a key that only its owner can read, found mode {stat.S_IMODE(status.st_mode):04o}",
                hint=f"make a new key if others may have read it; otherwise run: chmod 600 {path}",
            )
        return file.read(_KEY_FILE_LIMIT)
