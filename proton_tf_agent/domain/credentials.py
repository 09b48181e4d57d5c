"""Credentials by their looks: what Terraform did not mark, and what nobody may see all the same.

Three rules. Kinds with a shape of their own are credentials wherever they stand, in an output too. What stands behind
a name like `password`, and what in free text looks random, is masked in free text only: an output that its author does
not call sensitive may well be a certificate or an object's version.

What looks random: 32 characters or more of base64 with upper case, lower case and digits, more than 4 bits of entropy
a character, and one kind following another at every third place. Hex never has more than 4 bits, so commit ids, digests
and UUIDs stay; names and paths made of words keep to one kind for longer.

Promise: linear. Every repetition is bounded, or takes what no later part of its pattern could match.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from .taint import MASK

# A private key with its headers, torn off or whole; a JSON string has it in one line.
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S]){0,20000}"
    r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_SHAPES = (  # each at the beginning of a word
    # AWS: access key id, and the secret key where it stands beside it
    r"(?:AKIA|ASIA)[A-Z0-9]{16}\b(?:[^A-Za-z0-9+/]{1,20}[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/]))?",
    r"gh[pousr]_[A-Za-z0-9]{20,255}\b",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,255}\b",
    r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent)-[A-Za-z0-9_-]{20,64}\b",  # GitLab
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,80}\b",  # HCP Terraform
    r"hv[sbr]\.[A-Za-z0-9_-]{20,300}\b",  # Vault, and its older tokens
    r"s\.(?=[A-Za-z]{0,23}[0-9])(?=[a-z0-9]{0,23}[A-Z])[A-Za-z0-9]{24}\b",
    r"xox[abeprs]-[A-Za-z0-9-]{10,250}\b",  # Slack, and its webhooks
    r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,80}",
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}\b",  # Stripe
    r"AIza[A-Za-z0-9_-]{35}\b",  # Google
    r"ya29\.[A-Za-z0-9_-]{20,300}\b",
    r"GOCSPX-[A-Za-z0-9_-]{20,60}\b",
    r"npm_[A-Za-z0-9]{36}\b",
    r"pypi-AgE[A-Za-z0-9_-]{50,300}\b",
    r"dop_v1_[a-f0-9]{64}\b",  # DigitalOcean
    r"dapi[a-f0-9]{32}\b",  # Databricks
    r"glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}\b",  # Grafana
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}\b",  # SendGrid
    r"dckr_pat_[A-Za-z0-9_-]{20,60}\b",  # Docker
    r"sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,200}\b",
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}\b",
    r"[Bb]earer [A-Za-z0-9._~+/=-]{8,4000}",  # Authorization headers
    r"[Bb]asic [A-Za-z0-9+/]{12,2000}={0,2}(?![A-Za-z0-9+/=])",
    r"eyJ[A-Za-z0-9_-]{8,4000}+\.eyJ[A-Za-z0-9_-]{8,4000}+\.[A-Za-z0-9_-]{8,4000}",  # JWT
)
# A word may begin behind a line end that is escaped in JSON.
_SHAPED = re.compile(rf"{_PRIVATE_KEY}|(?:\b|(?<=\\[nrt]))(?:{'|'.join(_SHAPES)})")
# Password in a URL, with a user or without; and a token that stands where the user would. A port is no password.
_IN_URL = re.compile(r"(://[^/\s:@]{0,128}+:)(?!\d{1,5}/)[^@\s]{1,128}+(@)|(://)[^/\s:@\[]{20,256}+(@)")
_NAMES = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|credentials?|signature"
    r"|(?:api|access|account|private|encryption|shared)[_-]?key"
)
# A value in quotes goes to their end, another to the next blank. The name of an error is none.
_NAMED = re.compile(
    r"(?i)((?:" + _NAMES + r")s?\\?[\"']?\s{0,3}(?:=>|[=:])\s{0,3})"
    r"(?:(\\?\")(?:[^\"\n\\]|\\(?!\")[^\n]){4,512}|(')[^'\n]{4,512}"
    r"|(?!operation error\b|[a-z]{3,60}(?:exception|error|fault)\b)[^\s\"',;]{4,512})"
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_-]{32,4096}={0,2}")
_MIN_BITS = 4.0
_MIN_TURNS = 0.35  # of a random text 0.6 of all neighbours are of different kinds, of words and paths a fifth
_SEPARATORS = str.maketrans("", "", "+/_-=")
_KINDS = str.maketrans("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "a" * 26 + "A" * 26 + "0" * 10)


def is_credential(text: str) -> bool:
    """Whether text holds a credential that is one wherever it stands."""
    return bool(_SHAPED.search(text) or _IN_URL.search(text))


def mask_credentials(text: str) -> str:
    """Free text with everything that looks like a credential replaced by MASK."""
    text = _SHAPED.sub(MASK, text)
    text = _IN_URL.sub(lambda match: f"{match[1] or match[3]}{MASK}{match[2] or match[4]}", text)
    text = _NAMED.sub(lambda match: f"{match[1]}{match[2] or match[3] or ''}{MASK}", text)
    return _RANDOM.sub(lambda match: MASK if _looks_random(match[0]) else match[0], text)


def _looks_random(text: str) -> bool:
    text = text.translate(_SEPARATORS)
    kinds = text.translate(_KINDS)
    if not {"a", "A", "0"} <= set(kinds):
        return False
    turns = sum(map(str.__ne__, kinds, kinds[1:]))
    if turns < _MIN_TURNS * (len(text) - 1):
        return False
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values()) > _MIN_BITS
