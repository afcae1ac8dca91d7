"""What a model is told beside what was said: whom the agent called, and what it did."""

from __future__ import annotations

from calls.events import ActionDone, ActionRequested, AsideDue, CallStarted


def placed(started: CallStarted | None) -> str:
    """Tell an agent that it placed this call, and what is known of it; empty for other calls."""
    if started is None:
        return ""
    known = "; ".join(f"{name}: {value}" for name, value in started.variables.items())
    if started.direction == "inbound":
        return f"Known of this call: {known}." if known else ""
    note = f"You placed this call, to {started.called}: you speak to whoever answered."
    return f"{note} Known of it: {known}." if known else note


def came_of(
    request: ActionRequested, outcome: ActionDone | None, told: AsideDue | None, *, begun: bool
) -> str:
    """Tell what came of an action; empty if nothing did.

    Args:
        request: what the agent wanted done.
        outcome: what came of it, if anything did.
        told: what the caller was told when a transfer had failed.
        begun: it is a transfer, and was begun.
    """
    what = request.arguments
    failed = outcome is not None and outcome.outcome == "failed"
    reason = f": {outcome.detail}" if outcome is not None and outcome.detail else ""
    match request.action:
        case "transfer" if outcome is None:
            return f"The transfer to {_whom(request)} is under way." if begun else ""
        case "transfer" if failed:
            note = f"The transfer to {_whom(request)} failed{reason}. The caller is back."
            return f'{note} They were told: "{told.text}"' if told else f"{note} Tell them."
        case "transfer":
            return f"The caller was put through to {_whom(request)}."
        case "send_digits" if failed:
            return f"The keys {what.get('digits', '')} were not sent{reason}."
        case "send_digits" if outcome is not None:
            return f"You sent the keys {what.get('digits', '')}."
    return ""


def _whom(request: ActionRequested) -> str:
    return request.arguments.get("destination") or request.arguments.get("target", "")
