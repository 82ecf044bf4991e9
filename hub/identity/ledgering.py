"""From a principal to a ledger draft: who, in which role, for what purpose."""

from typing import Any

from hub.identity.model import Principal
from hub.ledger.model import Action, Draft


def draft(who: Principal, action: Action, **kw: Any) -> Draft:
    """A draft with actor and purpose of `who`; `kw` are the other fields of `Draft`."""
    purpose = who.purpose
    return Draft(
        action=action,
        actor_id=who.user_id,
        actor_name=who.username,
        actor_role=who.role.value,
        purpose_kind=purpose.kind.value if purpose else None,
        purpose_incident_id=purpose.incident_id if purpose else None,
        purpose_note=purpose.note if purpose else "",
        **kw,
    )
