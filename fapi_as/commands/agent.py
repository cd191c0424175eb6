"""fapi-as agent: the client side by hand. Needs the extra `[agent]` and nothing of the server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fapi_as.commands.options import AS_JSON
from fapi_as.commands.printing import confirm, print_json, print_members, visible

if TYPE_CHECKING:
    from fapi_as.agent.tokens import TokenSet
    from fapi_as.agent.tracing import Step

Command = Callable[..., None]
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_OPTIONS: Final = (
    click.option(
        "--config", type=_FILE, help="Who the agent is, as TOML.  [default: fapi-agent.toml, if there is one]"
    ),
    click.option("--resource", help="The MCP server's URL."),
    click.option("--issuer", help="The authorization server that the agent is registered with."),
    click.option("--endpoint-origins", help="Other origins of its endpoints, as https://host, separated by spaces."),
    click.option("--client-id", help="The agent's name there; without it, it makes itself known by what follows."),
    click.option("--software-statement", type=_FILE, help="What an authority says about the agent: a JWT in a file."),
    click.option("--initial-access-token", type=_FILE, help="What the operator gave it instead, in a file."),
    click.option("--client-id-metadata-document", help="The https URL of its own metadata, where that is a client_id."),
    click.option("--client-name", help="What people are to know it by."),
    click.option("--software-id", help="What the software is called, where no statement says it."),
    click.option(
        "--sign-registration", is_flag=True, default=None, help="Sign the registration with the agent's key, too."
    ),
    click.option("--key", type=_FILE, help="Its private key (PEM), which only its owner may read."),
    click.option("--kid", help="The name of that key, as it is registered."),
    click.option(
        "--token-endpoint-auth-method",
        type=click.Choice(["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"]),
        help="How the agent shows who it is, as registered.  [default: private_key_jwt]",
    ),
    click.option("--certificate", type=_FILE, help="Its certificate (PEM), read again when it was renewed."),
    click.option("--certificate-key", type=_FILE, help="The private key of the certificate.  [default: the same file]"),
    click.option(
        "--bound-to",
        type=click.Choice(["key", "certificate", "both"]),
        help="What its tokens are bound to, as registered.  [default: key]",
    ),
    click.option("--request-object-signing-alg", help="Sign requests with the agent's key, which is one for this."),
    click.option("--authorization-signed-response-alg", help="Take signed responses only, in this algorithm."),
    click.option("--id-token-signed-response-alg", help="How ID tokens are signed, as registered.  [default: ES256]"),
    click.option("--ca", type=_FILE, help="The authorities to trust instead of the system's (PEM)."),
    click.option("--scope", help="What to ask for, separated by spaces.  [default: what the MCP server names]"),
    click.option(
        "--grant-type",
        type=click.Choice(["authorization_code", "client_credentials"]),
        help="Whether a person allows it, or the agent acts for itself.  [default: authorization_code]",
    ),
    click.option("--redirect-uri", help="As registered.  [default: http://127.0.0.1/callback]"),
    click.option("--store", type=click.Path(path_type=Path), help="The directory of the tokens, for its owner alone."),
)
_SIGN_IN: Final = click.option("--sign-in", is_flag=True, help="Send the person to a browser if they have to allow it.")
_BROWSER: Final = click.option("--no-browser", is_flag=True, help="Only print the address that the person has to open.")


def _who(command: Command) -> Command:
    """The options that say who the agent is; each overrides its member of the file."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


def _calling(command: Command) -> Command:
    """A tool, its arguments, and how to go about it."""
    decorators = (
        click.argument("tool"),
        click.argument("arguments", default="{}", metavar="[ARGUMENTS|-]"),
        _SIGN_IN,
        _BROWSER,
        AS_JSON,
        _who,
    )
    return reduce(lambda decorated, decorator: decorator(decorated), reversed(decorators), command)


@click.group()
def agent() -> None:
    """Sign in at an MCP server, call its tools, look at the exchanges.

    Members of fapi-agent.toml are the long options with "_" for "-"; paths in it are relative to the file.
    """


@agent.command()
@_BROWSER
@AS_JSON
@_who
def login(*, no_browser: bool, as_json: bool, **who: Any) -> None:
    """Let a person allow the agent to use the MCP server, and keep the tokens.

    Opens the browser and waits on 127.0.0.1 until it comes back. With `client_credentials` nobody is asked.
    """
    from fapi_as.commands.agent_session import run, signed_in

    tokens, store = run(signed_in(who, browser=not no_browser))
    document = {**_shown(tokens), "store": str(store)}
    named = f", which allowed {' '.join(tokens.scope)}" if tokens.scope else ""
    confirm(document, f"signed in for {tokens.resource} at {tokens.issuer}{named}", as_json=as_json)


@agent.command()
@click.option("--again", "how", flag_value="ANEW", help="Register even if it is; the former registration runs out.")
@click.option("--update", "how", flag_value="UPDATED", help="Change the registration to what the agent is today.")
@click.option("--show", "how", flag_value="SHOWN", help="Read what is registered.")
@click.option("--delete", "how", flag_value="DELETED", help="Delete the registration, and all that was issued to it.")
@AS_JSON
@_who
def register(*, how: str | None, as_json: bool, **who: Any) -> None:
    """Make the agent known to the authorization server, unless it is: nobody has to be asked.

    By the address of its metadata document where the server takes those, else with a software statement or an initial
    access token. What that gives is kept beside the tokens and shown to no other server.
    """
    from fapi_as.commands.agent_session import Known, made_known, run

    what = Known[how or "ONCE"]
    document = run(made_known(who, what))
    if what is Known.SHOWN:
        print_members(document, as_json=as_json)
        return
    said = {Known.UPDATED: "is registered as it is today", Known.DELETED: "is not registered any more"}
    known = said.get(what, f"is {document.get('client_id')}")
    confirm(document, f"the agent {known} at {document['issuer']}", as_json=as_json)


@agent.command()
@_calling
def call(*, tool: str, arguments: str, sign_in: bool, no_browser: bool, as_json: bool, **who: Any) -> None:
    """Call one tool and print what it says; ARGUMENTS is a JSON object, and `-` reads it from stdin.

    Exits with 1 when the tool reports an error.
    """
    from fapi_as.commands.agent_session import Manner, called, run

    result = run(called(who, tool, _members(arguments), Manner(sign_in=sign_in, browser=not no_browser)))
    _print_result(result, as_json=as_json)


@agent.command()
@AS_JSON
@_who
def token(*, as_json: bool, **who: Any) -> None:
    """Print an access token for the MCP server and when it ends, renewed if it is about to.

    It is bound to a key of the agent, or to its certificate, and worth nothing without; neither a key nor the refresh
    token is shown.
    """
    from fapi_as.commands.agent_session import current, run

    tokens = run(current(who))
    print_members({"access_token": tokens.access_token.reveal(), **_shown(tokens)}, as_json=as_json)


@agent.command()
@_calling
def trace(*, tool: str, arguments: str, sign_in: bool, no_browser: bool, as_json: bool, **who: Any) -> None:
    """Call one tool as `call` does, and show each HTTP exchange with secrets blanked.

    Proofs and assertions are shown as what they say, without the signature.
    """
    from fapi_as.agent.tracing import Tracing
    from fapi_as.commands.agent_session import Manner, called, run

    steps: list[Step] = []
    tracing = Tracing(steps.append if as_json else _print_step)
    manner = Manner(sign_in=sign_in, browser=not no_browser, tracing=tracing)
    result: dict[str, Any] | None = None
    try:
        result = tracing.legible(run(called(who, tool, _members(arguments), manner)))
    except click.ClickException as refusal:
        raise click.ClickException(tracing.legible(refusal.message)) from None
    finally:  # what led to a failure is what a trace is for
        if as_json:
            print_json({"steps": [_step(step) for step in steps], "result": result})
    if as_json:
        _end(result)
    else:
        click.echo()
        _print_result(result, as_json=False)


def _members(arguments: str) -> dict[str, Any]:
    try:
        members = json.loads(sys.stdin.buffer.read() if arguments == "-" else arguments)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise click.ClickException('the arguments are no JSON object, such as {"account": "checking"}')
    return members


def _shown(tokens: TokenSet) -> dict[str, object]:
    return {
        "token_type": tokens.token_type,
        "expires_at": tokens.expires_at,
        "scope": " ".join(tokens.scope),
        "resource": tokens.resource,
        "issuer": tokens.issuer,
        "client_id": tokens.client_id,
        **({"jkt": tokens.proof_key.thumbprint} if tokens.proof_key is not None else {}),
        **({"x5t#S256": tokens.certificate} if tokens.certificate is not None else {}),
        **({"sub": tokens.subject} if tokens.subject is not None else {}),
    }


def _print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(result))
    else:
        for block in result.get("content", []):
            text = block["text"] if block.get("type") == "text" else json.dumps(block)
            for line in str(text).splitlines():
                click.echo(visible(line), err=bool(result.get("isError")))
    _end(result)


def _end(result: Mapping[str, Any]) -> None:
    if result.get("isError"):
        raise click.exceptions.Exit(1)


def _step(step: Step) -> dict[str, object]:
    return {
        "number": step.number,
        "asked": step.asked,
        "request": list(step.request),
        "status": step.status,
        "answer": list(step.answer),
    }


def _print_step(step: Step) -> None:
    click.echo(visible(f"{step.number}. {step.asked}"))
    for line in step.request:
        click.echo(f"   > {visible(line)}")
    if step.status is not None:
        click.echo(f"   < {step.status}")
    for line in step.answer:
        click.echo(f"   < {visible(line)}")
