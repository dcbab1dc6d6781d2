"""The public suite of the draft, through nothing but the public interface.

The suite is read where it is published beside the project and never copied into it; `REMIT_AAT_VECTORS` names
another place. Where it cannot be found these tests fail: a suite that is not run proves nothing.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

import remit

ROOT: Final = Path(__file__).resolve().parents[2]
PLACE: Final = Path(
    os.environ.get("REMIT_AAT_VECTORS") or ROOT.parent / "shared" / "vectors" / "aat-jws-vectors.json"
)


def _read() -> dict[str, Any]:
    if not PLACE.is_file():
        return {}
    suite: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8"), parse_float=Decimal)
    return suite


SUITE: Final = _read()
VECTORS: Final[list[dict[str, Any]]] = SUITE.get("vectors", [])


ABSENT: Final = f"the AAT vectors are not at {PLACE}; set REMIT_AAT_VECTORS to where they are"


def test_the_suite_is_there_and_whole() -> None:
    """115 presentations with the expected verdict (29 PERMIT, 86 DENY)."""
    assert SUITE, ABSENT
    verdicts = [vector["expected"]["verdict"] for vector in VECTORS]
    assert (len(verdicts), verdicts.count("PERMIT"), verdicts.count("DENY")) == (115, 29, 86)
    assert SUITE["spec"] == "draft-niyikiza-oauth-attenuating-agent-tokens-02"
    assert len({vector["id"] for vector in VECTORS}) == 115


def _verify(vector: dict[str, Any]) -> remit.Permit:
    params, policy = SUITE["params"], vector["policy"]
    guard = remit.Guard(
        trust=[remit.TrustAnchor(anchor["iss"], anchor["jwk"]) for anchor in SUITE["trust_anchors"]],
        clock=lambda: vector["now"],
        audience=params["audience"],
        max_ttl=params["max_token_lifetime"],
        require_proof_audience=bool(policy.get("require_pop_aud")),
        require_chain_audience=bool(policy.get("require_chain_aud")),
    )
    return guard.verify(vector["presentation"], vector["tool"], vector["args"], nonce=policy.get("nonce"))


@pytest.mark.parametrize("vector", VECTORS or [{"id": "absent"}], ids=lambda vector: vector["id"])
def test_vector(vector: dict[str, Any]) -> None:
    """Conformance is agreement on every verdict, fresh state per vector."""
    assert SUITE, ABSENT
    expected = vector["expected"]["verdict"]
    if expected == "PERMIT":
        permit = _verify(vector)
        assert (permit.capability, dict(permit.arguments)) == (vector["tool"], vector["args"])
    else:
        assert expected == "DENY"
        with pytest.raises(remit.Denied):
            _verify(vector)
