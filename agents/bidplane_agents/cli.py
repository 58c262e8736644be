"""The `bidplane` command: assembles commands, turns every failure into one line and an exit code.

Commands of other packages are loaded by name when they are installed, so that an agent author's
environment needs neither Faust nor Kubernetes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
import sys
from typing import Any, Final, NoReturn

# Loading takes a second: Ctrl-C meanwhile ends quietly, as it does later.
try:
    import typer

    from bidplane_agents import errors
    from bidplane_agents.commands import (
        auditing,
        bidding,
        budgeting,
        contract,
        dealing,
        markets,
        operating,
        output,
        quoting,
        receipts,
        renewing,
    )
    from bidplane_topics.errors import ContractError
except KeyboardInterrupt:
    sys.exit(128 + signal.SIGINT)

# Packages that may add commands: each has a module `commands` with `attach(app)`.
_OTHERS: Final = ("bidplane_streams", "bidplane_loadtest")
INTERRUPTED: Final = 128 + signal.SIGINT

# Typer carries its own click; all that it raises for wrong usage descends from here.
_UsageError: Final[Any] = typer.BadParameter.__base__


def build() -> typer.Typer:
    """The application, with the commands of whatever is installed."""
    app = typer.Typer(
        name="bidplane", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="An economic scheduler for accelerators: agents bid, a market clears, leases bind.",
    )  # fmt: skip
    for command in (
        bidding.bid, bidding.cancel, bidding.release, bidding.allocations, bidding.balance,
        bidding.why, dealing.offer, dealing.accept, renewing.renew, quoting.quote, receipts.receipt,
        budgeting.grant, auditing.audit,
    ):  # fmt: skip
        app.command()(command)
    app.add_typer(budgeting.org, name="org")
    app.add_typer(budgeting.tenant, name="tenant")
    app.add_typer(operating.agent, name="agent")
    app.add_typer(operating.topics, name="topics")
    app.add_typer(markets.app, name="market")
    app.add_typer(contract.app, name="contract")
    for package in _OTHERS:
        _attach(app, package)
    return app


def _attach(app: typer.Typer, package: str) -> None:
    """A package's commands, where it and its dependencies are installed."""
    name = f"{package}.commands"
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(name) is None:
        return
    try:
        commands = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bidplane"):
            raise
        return  # the package is there without its extra: `pip install 'bidplane[streams]'`
    commands.attach(app)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; its exit code. Errors are one line on stderr."""
    try:
        code = build()(args=arguments, prog_name="bidplane", standalone_mode=False)
    except (errors.BidplaneError, ContractError) as error:
        return _fail(str(error), getattr(error, "exit_code", 2))
    except _UsageError as error:
        return _wrong_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _pipe_closed()
    except OSError as error:  # a folder or file that cannot be used
        place = error.filename or "the system"
        return _fail(f"{place}: {error.strerror or error}: name one that can be used", 2)
    return code if isinstance(code, int) else 0


def _wrong_usage(error: Any) -> int:
    """One line; the whole help where a group of commands was named and no command of it."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        output.note(context.get_help())
        return 2
    message = " ".join(error.format_message().split())
    path = context.command_path if context is not None else "bidplane"
    return _fail(f"{message} (see `{path} --help`)", 2)


def _fail(message: str, code: int) -> int:
    output.note("bidplane: " + " ".join(message.split()))
    return code


def _pipe_closed() -> int:
    """The reader went away (`| head`): end quietly, as if it had been killed by SIGPIPE."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def main() -> NoReturn:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
