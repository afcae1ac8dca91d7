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
    document["components"]["messages"]["call-log:Message"] = {
        "title": "call-log:Message",
        "payload": {"$ref": _SCHEMAS + "CallEvent"},
    }
    address = topics.events(CallId("call"))
    document["channels"]["call-log"] = {
        "address": address,
        "description": "A call's log: every fact once, in order. One stream per call; field `e`.",
        "servers": next(iter(document["channels"].values()))["servers"],
        "messages": {"Message": {"$ref": "#/components/messages/call-log:Message"}},
        "bindings": {"redis": {"channel": address, "method": "xadd", "bindingVersion": "custom"}},
    }
    document["operations"]["call-log"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/call-log"},
        "messages": [{"$ref": "#/channels/call-log/messages/Message"}],
    }
