"""What an ingress says of its trunks and phones to the others (bus/trunk_state.py)."""

from __future__ import annotations

from bus.trunk_state import Lines, PhoneState, TrunkState
from ingress_sip.trunking.config import Trunks
from ingress_sip.trunking.keeper import TrunkKeeper
from ingress_sip.trunking.policy import Policy


def lines_of(
    config: Trunks, keeper: TrunkKeeper, policy: Policy, now: float, now_ms: float
) -> Lines:
    """All there is, now: `now` on the core's clock in s, which is `now_ms` on the wall's."""

    def wall_ms(at: float) -> float:
        return now_ms + 1000 * (at - now)

    limits = {trunk.name: trunk.max_calls for trunk in config.trunks}
    trunks = []
    for health in keeper.health():
        inbound = policy.lines.calls(health.name, "inbound")
        outbound = policy.lines.calls(health.name, "outbound")
        trunks.append(
            TrunkState(
                name=health.name,
                registered=health.registered,
                reachable=health.reachable,
                status=health.status,
                reason=health.reason,
                calls=inbound + outbound,
                outbound=outbound,
                limit=limits[health.name],
                since_ms=wall_ms(health.since),
                expires_ms=None if health.expires_at is None else wall_ms(health.expires_at),
            )
        )
    phones = policy.registrar.all_bindings(now) if policy.registrar else ()
    return Lines(
        tuple(trunks),
        tuple(
            PhoneState(
                user=each.user, contact=str(each.contact), expires_ms=wall_ms(each.expires_at)
            )
            for each in phones
        ),
    )
