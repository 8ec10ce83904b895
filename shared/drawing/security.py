"""What a page may load: nothing but its own inline style and script, named by their hashes."""

import base64
import hashlib


def content_security_policy(*, style: str, script: str | None = None) -> str:
    """Return the policy that admits one inline style, one inline script where there is one, and nothing else.

    Parameters
    ----------
    style, script : str
        The exact text between the tags.

    Examples
    --------
    >>> content_security_policy(style="")
    "default-src 'none'; style-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; base-uri 'none'; form-action 'none'"
    """  # noqa: E501 - a policy is one line
    scripts = "" if script is None else f"script-src '{_source_hash(script)}'; "
    return f"default-src 'none'; style-src '{_source_hash(style)}'; {scripts}base-uri 'none'; form-action 'none'"


def _source_hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
