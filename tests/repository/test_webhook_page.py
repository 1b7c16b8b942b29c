"""The verification that docs/webhooks.md tells clients to copy, against the standard's own library."""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from shared.domain.webhooks import format_secret
from shared.providers.webhook_signing import signed_headers
from tests.conftest import ROOT

PAGE = (ROOT / "docs/webhooks.md").read_text()
BODY = '{"type":"escrow_created","note":"zwölf"}'.encode()
ID = "msg_" + "0" * 40
Verify = Callable[[str, Mapping[str, str], bytes], bool]


def _block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def _python() -> Verify:
    namespace: dict[str, Any] = {}
    exec(compile(_block("python"), "docs/webhooks.md", "exec"), namespace)
    verify: Verify = namespace["verify"]
    return verify


def _without_types(typescript: str) -> str:
    """JavaScript of the page's TypeScript: Node 20 cannot take the types away itself."""
    signature = r"verify\(.*?\): boolean"
    return re.sub(signature, "verify(secret, headers, body, toleranceS = 300)", typescript)


def _node() -> Verify:
    def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
        given = json.dumps([secret, dict(headers), base64.b64encode(body).decode()])
        call = "const [s, h, b] = JSON.parse(process.argv[1]);"
        call += ' console.log(verify(s, h, Buffer.from(b, "base64")));'
        script = _without_types(_block("typescript")) + call
        run = subprocess.run(
            ["node", "--input-type=module", "--eval", script, given],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return bool(json.loads(run.stdout))

    return verify


@pytest.fixture(params=[_python, _node], ids=["python", "typescript"])
def verify(request: pytest.FixtureRequest) -> Verify:
    """The page's function."""
    made: Verify = request.param()
    return made


def _secret() -> str:
    return format_secret(secrets.token_bytes(32))


def _headers(signing: list[str], moment: datetime | None = None) -> dict[str, str]:
    return signed_headers(ID, signing, BODY, moment or datetime.now(UTC))


def test_what_we_sign_is_verified_and_what_we_did_not_is_not(verify: Verify) -> None:
    secret = _secret()
    headers = _headers([secret])
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    assert verify(secret, headers, BODY)
    assert not verify(secret, headers, BODY + b" ")
    assert not verify(_secret(), headers, BODY)
    assert not verify(secret, headers | {"webhook-id": "msg_other"}, BODY)


def test_what_the_standards_library_signs_is_verified(verify: Verify) -> None:
    secret, moment = _secret(), datetime.now(UTC)
    signature = Webhook(secret).sign(ID, moment, BODY.decode())
    headers = {"webhook-id": ID, "webhook-timestamp": str(int(moment.timestamp()))}
    assert verify(secret, headers | {"webhook-signature": signature}, BODY)


def test_during_a_rotation_either_secret_verifies(verify: Verify) -> None:
    new, old = _secret(), _secret()
    headers = _headers([new, old])
    assert verify(new, headers, BODY)
    assert verify(old, headers, BODY)
    assert not verify(_secret(), headers, BODY)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_what_was_recorded_and_is_played_again_later_is_refused(verify: Verify, minutes: int) -> None:
    secret = _secret()
    assert not verify(secret, _headers([secret], datetime.now(UTC) + timedelta(minutes=minutes)), BODY)
