"""The command line. Thin: each command reads the settings and calls the module that does the work.

What a user can mend is one readable line and exit status 2; status 1 says that something was tried
and went wrong. Commands import what they need when they run: `--help` stays quick, and a worker
process loads no dashboard.
"""

from __future__ import annotations

import asyncio
import json as json_module
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from trunkline.errors import UserError
from trunkline.settings import load_settings

T = TypeVar("T")

DEMO_CALLER = "book-tuesday"

app = typer.Typer(
    name="trunkline",
    help="Answers phone calls with AI voices. Settings: TRUNKLINE_* or trunkline.toml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
calls = typer.Typer(help="Calls, live and past.", no_args_is_help=True)
app.add_typer(calls, name="calls")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
ReadyFd = Annotated[int, typer.Option(hidden=True, help="Where to write one line when ready.")]
CallArgument = Annotated[str, typer.Argument(help="As `trunkline calls list` shows it.")]
PoolSize = Annotated[int, typer.Option(min=1, max=64, help="Processes in this pool.")]


def main() -> None:
    """Run the command line: the entry point of `trunkline` and of `python -m trunkline`."""
    try:
        app()
    except UserError as error:
        typer.echo(f"trunkline: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # Our reader went away (`trunkline calls list | head`): no reason for a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@app.command()
def up(asr: PoolSize = 1, llm: PoolSize = 1, tts: PoolSize = 1, json: Json = False) -> None:
    """Run the whole system on this machine until Ctrl-C, and say which number to dial."""
    from trunkline.up import run_up

    settings = load_settings()
    sizes = {"asr": asr, "llm": llm, "tts": tts}
    raise typer.Exit(asyncio.run(run_up(settings, sizes, as_json=json)))


@app.command()
def demo(
    json: Json = False,
    caller: Annotated[
        str, typer.Option(help="Who calls: a name in trunkline/callers/script.yaml.")
    ] = DEMO_CALLER,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running, until Ctrl-C.")
    ] = False,
) -> None:
    """Start everything, have a phone call it and hold a conversation, and check what was heard."""
    from trunkline.demo import run_demo

    raise typer.Exit(run_demo(load_settings(), caller=caller, as_json=json, keep=keep))


@app.command()
def chaos(
    *,
    calls: Annotated[int, typer.Option(min=1, max=200, help="Calls at once.")] = 10,
    kill: Annotated[
        str, typer.Option(help="Whose processes are hit, in turn; empty for nobody's.")
    ] = "asr,llm,tts,recorder",
    every: Annotated[float, typer.Option(min=0.1, help="Between two blows, in s.")] = 5.0,
    duration: Annotated[float, typer.Option("--for", min=1.0, help="How long, in s.")] = 60.0,
    signal: Annotated[
        Literal["kill", "term", "stop"],
        typer.Option(help="What hits them; stop puts to sleep for 10 s, and wakes again."),
    ] = "kill",
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Instead: restart each worker once, one by one.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed says and hits the same.")] = 1,
    json: Json = False,
) -> None:
    """Place calls, kill workers under them, and tell what was lost: status 0 if nothing was."""
    from trunkline.chaos.run import Plan, run_chaos

    roles = tuple(role.strip() for role in kill.split(",") if role.strip())
    plan = Plan(calls, roles, every, duration, signal, rolling, seed)
    raise typer.Exit(run_chaos(load_settings(), plan, as_json=json))


def _role(role: str, ready_fd: int) -> None:
    from trunkline.buses import with_bus
    from trunkline.roles import run

    def ready(announcement: dict[str, object]) -> None:
        if ready_fd < 0:
            if "password" in announcement:
                typer.echo(
                    f"dashboard password: {announcement['password']} "
                    "(made now, shown only this once)",
                    err=True,
                )
            return
        line = {"event": "ready", "role": role, "pid": os.getpid(), **announcement}
        with os.fdopen(ready_fd, "w") as pipe:
            pipe.write(json_module.dumps(line) + "\n")

    raise typer.Exit(run(role, with_bus(load_settings()), ready=ready))


@app.command()
def sip(ready_fd: ReadyFd = -1) -> None:
    """Answer calls by SIP and RTP."""
    _role("sip", ready_fd)


@app.command()
def web(ready_fd: ReadyFd = -1) -> None:
    """Answer calls that carriers bring as media streams: Twilio, Telnyx, Plivo, Vonage."""
    _role("web", ready_fd)


@app.command()
def asr(ready_fd: ReadyFd = -1) -> None:
    """Hear: turn callers' speech into text. Run as many as the load needs."""
    _role("asr", ready_fd)


@app.command()
def llm(ready_fd: ReadyFd = -1) -> None:
    """Think: write the replies. Run as many as the load needs."""
    _role("llm", ready_fd)


@app.command()
def tts(ready_fd: ReadyFd = -1) -> None:
    """Speak: turn replies into audio. Run as many as the load needs."""
    _role("tts", ready_fd)


@app.command()
def recorder(ready_fd: ReadyFd = -1) -> None:
    """Keep: write ended calls to the database, and their recordings."""
    _role("recorder", ready_fd)


@app.command()
def admin(ready_fd: ReadyFd = -1) -> None:
    """Show: serve the dashboard."""
    _role("admin", ready_fd)


@app.command()
def status(json: Json = False) -> None:
    """Show every live process, trunk and phone, what waits for the pools, and the live calls."""
    from trunkline.status import as_text, status

    found = _answer(status(load_settings()))
    _print(found if json else as_text(found))


@app.command()
def migrate(
    revision: Annotated[str, typer.Option(help="Which version of the tables.")] = "head",
    down: Annotated[bool, typer.Option("--down", help="Go back to it: loses data.")] = False,
) -> None:
    """Bring the database's tables to this version."""
    from storage import migrate
    from storage.errors import DatabaseUnavailableError, DatabaseUrlError

    settings = load_settings()
    if down and revision == "head":
        raise UserError("say how far back: --down --revision REVISION (or `base` for nothing)")
    step = migrate.downgrade if down else migrate.upgrade
    try:
        _answer(step(settings.database_url, revision))
        now = _answer(migrate.revisions(settings.database_url))
    except (DatabaseUnavailableError, DatabaseUrlError) as error:
        raise UserError(str(error)) from error
    typer.echo(f"tables are at {now.current or 'nothing'}; this version's are {now.head}")


@app.command()
def dial(
    uri: Annotated[str, typer.Argument(help="sip:USER@HOST[:PORT]")],
    *,
    wav: Annotated[
        list[Path] | None,
        typer.Option(help="What to say; several are said one after the other, each in its turn."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Write what the phone heard.")] = None,
    json: Json = False,
    listen_ms: Annotated[
        int, typer.Option(help="Silence, in ms, after which the agent has finished speaking.")
    ] = 1200,
    timeout_s: Annotated[float, typer.Option(help="Hang up after so long, in s.")] = 120.0,
) -> None:
    """Call a SIP URI from an independent softphone (pyVoIP), talk, and record what it heard."""
    from trunkline.dialing import dial

    outcome = dial(
        uri,
        wav or [],
        record=record,
        silence_ms=listen_ms,
        timeout_s=timeout_s,
        tell=(lambda _: None) if json else typer.echo,
    )
    if json:
        _print(outcome.as_json())


@app.command()
def call(
    number: Annotated[str, typer.Argument(help="Whom to call: +15550100, or sip:USER@HOST.")],
    *,
    agent: Annotated[str, typer.Option(help="Who speaks: a name in agents.yaml.")],
    caller_id: Annotated[str, typer.Option(help="What they are shown.")] = "",
    trunk: Annotated[str, typer.Option(help="By which trunk; the first that fits if none.")] = "",
    timeout_s: Annotated[float, typer.Option("--timeout", help="How long it rings, in s.")] = 60.0,
    var: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE that the agent knows of the call; several may be given."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the call to its end.")] = True,
    json: Json = False,
) -> None:
    """Place a call and follow it. Status 0: answered; 1: not; 2: nobody placed it."""
    from trunkline.placing import order, pairs, place

    job = order(
        number=number,
        agent=agent,
        caller_id=caller_id,
        trunk=trunk,
        timeout_s=timeout_s,
        variables=pairs(var or []),
    )
    tell = (lambda _: None) if json else typer.echo
    placed = _answer(place(load_settings(), job, tell, wait=wait))
    if json:
        _print(placed.as_json())
    raise typer.Exit(placed.status)


@app.command()
def doctor(json: Json = False) -> None:
    """Check the installation, and say how to mend what is found."""
    from trunkline.doctor import as_text, examine

    findings = _answer(examine(load_settings()))
    _print([finding.as_json() for finding in findings] if json else as_text(findings))
    raise typer.Exit(1 if any(finding.bad for finding in findings) else 0)


@app.command()
def asyncapi(
    check: Annotated[Path | None, typer.Option(help="Fail unless this file says the same.")] = None,
) -> None:
    """Print the bus's contract."""
    from trunkline import version
    from trunkline.contract import contract

    document = contract(version)
    if check is None:
        typer.echo(document, nl=False)
    elif not check.exists() or check.read_text("utf-8") != document:
        raise UserError(f"{check} is out of date: run `make docs`")


@app.command(hidden=True)
def settings_docs(
    check: Annotated[Path | None, typer.Option(help="Fail unless this file says the same.")] = None,
) -> None:
    """Print docs/settings.md."""
    from trunkline.settings_docs import settings_markdown

    document = settings_markdown()
    if check is None:
        typer.echo(document, nl=False)
    elif not check.exists() or check.read_text("utf-8") != document:
        raise UserError(f"{check} is out of date: run `make docs`")


@calls.command("list")
def calls_list(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, json: Json = False
) -> None:
    """List calls, newest first."""
    from trunkline import history

    found = _answer(history.list_calls(load_settings(), limit))
    _print(found if json else history.list_as_text(found))


@calls.command("show")
def calls_show(call: CallArgument, json: Json = False) -> None:
    """Show a call: its transcript, each turn's milliseconds, its recording."""
    from trunkline import history

    found = _answer(history.show(load_settings(), call))
    _print(found if json else history.call_as_text(found))


@calls.command("events")
def calls_events(call: CallArgument, json: Json = False) -> None:
    """Show a call's log."""
    from trunkline import history

    found = _answer(history.events(load_settings(), call))
    _print(
        found
        if json
        else "\n".join(
            f"{e['at']}  {e['kind']:<20} {json_module.dumps(e['payload'])}" for e in found
        )
    )


@calls.command("delete")
def calls_delete(call: CallArgument, json: Json = False) -> None:
    """Delete a call that is over, with its recording."""
    from trunkline import history

    found = _answer(history.delete(load_settings(), call))
    _print(found if json else f"deleted {call}")


def _answer(work: Coroutine[Any, Any, T]) -> T:
    """Run a short command's work with little to say on stderr."""
    from telemetry.log import configure

    configure("cli", level="error")
    return asyncio.run(work)


def _print(what: Any) -> None:
    typer.echo(what if isinstance(what, str) else json_module.dumps(what, indent=None))
