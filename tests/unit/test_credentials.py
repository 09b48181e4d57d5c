"""Credentials that nobody marked: known by their shape, by the name before them, or because they look random."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import pytest
from support.soak import rounds
from support.work import ratio

from proton_tf_agent.domain.credentials import is_credential, mask_credentials
from proton_tf_agent.domain.taint import MASK

PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,01\n\nMIIEpAIBAAKCAQEA\nabc/d+\n"
SHAPED = (
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AKIAIOSFODNN7EXAMPLE\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "ghp_" + "a1B2" * 9,
    "ghs_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 10,
    "glpat-" + "a1B2-c3D4_e5F6g7H8i9",
    "glrt-" + "a1B2-c3D4_e5F6g7H8i9",
    "a1B2c3D4e5F6g7.atlasv1." + "a1B2c3" * 11,
    "hvs." + "CAESIJ" * 10,
    "s.a1B2c3D4e5F6g7H8i9J0k1L2",
    "xoxb-" + "123456789012-abcdefABCDEF",
    "hooks.slack.com/services/T00000000/B00000000/" + "a1B2" * 6,
    "sk_live_" + "a1B2c3D4e5F6g7H8",
    "AIza" + "SyA-1234567890abcdefghijklmnopqrstu",
    "ya29." + "a0AfH6SMB-1234567890_xyz",
    "GOCSPX-" + "a1B2c3D4e5F6g7H8i9J0",
    "npm_" + "a1B2" * 9,
    "pypi-AgE" + "IcHlwaS5vcmc" * 5,
    "dop_v1_" + "0123456789abcdef" * 4,
    "dapi" + "0123456789abcdef" * 2,
    "glsa_" + "a1B2" * 8 + "_01234567",
    "SG." + "a1B2c3D4e5F6g7H8i9J0k1" + "." + "a1B2c3D4e5F6g7H8i9J0",
    "dckr_pat_" + "a1B2c3D4e5F6g7H8i9J0",
    "sk-proj-" + "a1B2" * 9,
    "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" + "QPZRY9X8GF2TVDW0S3JN54KHCE",
    "Bearer " + "a1B2c3D4.e5F6-g7H8==",
    "Basic " + "dXNlcjpodW50ZXIyLXNlY3JldA==",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    PEM + "-----END RSA PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQdGBF\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----",
    PEM + "torn off here",
)


@pytest.mark.parametrize("credential", SHAPED)
def test_a_credential_with_a_shape_of_its_own_is_one_wherever_it_stands(credential: str) -> None:
    assert is_credential(credential)
    assert is_credential(f'{{"note":"got\\n{credential}"}}')
    assert mask_credentials(f"Error: got {credential}") == f"Error: got {MASK}"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("dial postgres://user:pa55word@db:5432/x failed", f"dial postgres://user:{MASK}@db:5432/x failed"),
        ("redis://:pa55word@cache:6379", f"redis://:{MASK}@cache:6379"),
        ("postgres://user:pa55/w:rd@db/x", f"postgres://user:{MASK}@db/x"),
        ("https://0123456789abcdef0123@host/x", f"https://{MASK}@host/x"),
        ("invalid password=hunter2, retry", f"invalid password={MASK}, retry"),
        ("DB_PASSWORD: hunter2", f"DB_PASSWORD: {MASK}"),
        ('{"password": "hunter2 and more", "user": "x"}', f'{{"password": "{MASK}", "user": "x"}}'),
        ('{\\"password\\":\\"hunter2\\",\\"user\\":1}', f'{{\\"password\\":\\"{MASK}\\",\\"user\\":1}}'),
        ("'secret' => 'hunter2 and more'", f"'secret' => '{MASK}'"),
        ('aws_secret_access_key = "wJalrXUtnFEMI"', f'aws_secret_access_key = "{MASK}"'),
        ("api-key=abcd1234;x", f"api-key={MASK};x"),
        ("AccountKey=a1b2c3d4==;EndpointSuffix=x", f"AccountKey={MASK};EndpointSuffix=x"),
    ],
)
def test_a_name_and_a_url_keep_everything_but_the_secret(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked


def test_what_looks_random_is_masked_in_text_and_left_in_outputs() -> None:
    """An output that its author does not call sensitive may well be a certificate or an object's version."""
    draw = random.Random(7)
    for _ in range(200):
        secret = base64.b64encode(draw.randbytes(draw.randrange(30, 60))).decode()
        assert mask_credentials(f"got {secret} here") == f"got {MASK} here", secret
        assert not is_credential(secret)


HARMLESS = (
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "commit E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "9f2b6c1e-3d4a-4b5c-8d6e-7f8091a2b3c4",
    "arn:aws:proton:eu-west-1:123456789012:service/shop/service-instance/production-blue-2",
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/my-load-balancer/50dc6c495c0c9188",
    "module.network[0].aws_security_group_rule.allow_https_from_office_2[\"eu-west-1a\"]",
    "/home/runner/_work/Infrastructure-Live/Production/eu-west-1/Network/.terraform/Modules2/vpc",
    "com.example.Deployment.AbstractSingletonProxyFactoryBean2InstanceConfiguration",
    "subnet-0a1b2c3d4e5f60718 in vpc-0123456789abcdef0 of account 123456789012",
    "my-company-production-terraform-state-bucket-eu-central-1-2024",
    "docker://registry.example.com:5000/org/image@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca",
    "https://registry.terraform.io/providers/hashicorp/aws/5.31.0",
    "the password is wrong, the token has expired, the secret was not found",
    "reading Secrets Manager Secret: ResourceNotFoundException: it is gone",
    "deleting IAM Access Key: operation error IAM: DeleteAccessKey",
    "at module.a[0].b.c: 3 to add",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_ids_digests_names_and_paths_stay(text: str) -> None:
    assert mask_credentials(text) == text
    assert not is_credential(text)


# What each pattern begins to match again and again, and what it repeats longest.
WORST = (
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----\nx", "-----BEGIN" + " A" * 30,
    "AKIA", "AKIA" + "A" * 16 + " ", "AKIA" + "A" * 16 + "-" * 20, "a" * 14 + ".", "a" * 14 + ".atlasv1.",
    "s." + "a" * 23, "hvs.a", "eyJ" + "a" * 4000 + ".", "eyJaaaaaaaa.", "eyJ", "Bearer ", "Bearer " + "a" * 4001,
    "Basic " + "a" * 2001, "xoxb-", "SG." + "a" * 30 + ".", "://", "://a:", "://" + "a" * 128 + ":",
    "://a:" + "b" * 200, ":" * 7, "password", "password=", "passwords   ", 'password="', 'password=\\"',
    "password='" + "a" * 600, 'secret="' + "\\" * 30, "token: exception ", "key: " + "a" * 60, "api_", "a", "aA0+",
    "aA0+" * 1024 + " ", "A" * 31 + " ", "\x1b", " ", "\\n", "\n", "\u202e",
)  # fmt: skip


@pytest.mark.parametrize("piece", WORST)
def test_of_the_worst_text_twice_as_much_is_about_twice_the_work(piece: str) -> None:
    """Squares would make it four times as much. An eighth of a megabyte; in a soak a whole one."""
    once = piece * (rounds(1 << 17, 1 << 20) // len(piece))
    assert ratio(lambda: mask_credentials(once + once), lambda: mask_credentials(once), goal=3) < 3


def test_masking_twice_changes_nothing_more() -> None:
    mixed: Callable[[str], str] = lambda secret: f'x="{secret}" token={secret} ://u:{secret}@h {secret}'  # noqa: E731
    alphabet = string.ascii_letters + string.digits
    for seed in range(50):
        once = mask_credentials(mixed("".join(random.Random(seed).choices(alphabet, k=40))))
        assert mask_credentials(once) == once
