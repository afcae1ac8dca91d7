"""The bus's contract as one AsyncAPI document: `trunkline asyncapi`, kept in docs/asyncapi.yaml.

FastStream writes the part that it carries (jobs and lifecycle); the calls' logs, which travel by
raw redis-py (docs/adr/0003), are added from the event types, so that one document says it all.
"""

from __future__ import annotations

import json
from typing import Any

import yaml
from faststream.specification import AsyncAPI
from pydantic import TypeAdapter

from bus import topics
from bus.broker import Topics, make_broker
from bus.jobs import CancelCall
from calls.events import AnyEvent
from calls.ids import CallId

_SCHEMAS = "#/components/schemas/"
_SORTED = ("channels", "operations")


def contract(version: str) -> str:
    """Write the document, the same for the same code."""
    broker = make_broker("redis://localhost:6379")
    Topics.of(broker)
    specification: Any = AsyncAPI(
        broker,
        title="Trunkline",
        version=version,
        description="What Trunkline's processes say to each other: jobs, lifecycle, calls' logs.",
    ).to_specification()
    document: dict[str, Any] = specification.to_jsonable()
    _add_call_log(document)
    _add_cancels(document)
    for part in _SORTED:
        document[part] = dict(sorted(document[part].items()))
    for part, members in document["components"].items():
        document["components"][part] = dict(sorted(members.items()))
    head = "# Generated from the code by `make docs`; `make check` fails when it is out of date.\n"
    # Through JSON, so that no two parts are one object: YAML would write the second as an alias.
    plain = json.loads(json.dumps(document))
    return head + yaml.safe_dump(plain, sort_keys=False, width=100, allow_unicode=True)


def _add_call_log(document: dict[str, Any]) -> None:
    schema = TypeAdapter(AnyEvent).json_schema(
        mode="serialization", ref_template=_SCHEMAS + "{model}"
    )
    document["components"]["schemas"] |= schema.pop("$defs")
    document["components"]["schemas"]["CallEvent"] = schema
    says = "A call's log: every fact once, in order. One stream per call; field `e`."
    _add_stream(document, "call-log", topics.events(CallId("call")), "CallEvent", says)


def _add_cancels(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["CancelCall"] = CancelCall.model_json_schema()
    says = "Calls to be hung up, for the ingress that has them; field `c`. See bus/dialling.py."
    _add_stream(document, "dial-cancel", topics.CANCELS, "CancelCall", says)


def _add_stream(  # the document, then a stream's four words
    document: dict[str, Any], name: str, address: str, schema: str, says: str
) -> None:
    """Add a stream that travels by raw redis-py."""
    document["components"]["messages"][f"{name}:Message"] = {
        "title": f"{name}:Message",
        "payload": {"$ref": _SCHEMAS + schema},
    }
    document["channels"][name] = {
        "address": address,
        "description": says,
        "servers": next(iter(document["channels"].values()))["servers"],
        "messages": {"Message": {"$ref": f"#/components/messages/{name}:Message"}},
        "bindings": {"redis": {"channel": address, "method": "xadd", "bindingVersion": "custom"}},
    }
    document["operations"][name] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/Message"}],
    }
