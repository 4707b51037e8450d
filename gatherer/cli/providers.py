"""`gatherer providers`: what each provider can report, and how to set it up."""

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from gatherer.providers.base import Provider

WILL_NOT_COME: Final = (
    "What will not come: notices about templates, flows and accounts always go to the app's default URL. "
    "A callback-override URL (per number or per account) and a relay never see them. `read` comes only from "
    "people with read receipts on. `opted_out` also comes from the words in opt_out_keywords, with any "
    "provider."
)


@click.command("providers")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(name: str | None, *, as_json: bool) -> None:
    """List the providers, what each can report and how it behaves; with NAME, how to set that one up.

    \b
    Examples: gatherer providers
              gatherer providers wati
    """
    from gatherer import providers
    from gatherer.cli.output import print_json, print_table

    if name is None:
        matrix = provider_matrix()
        if as_json:
            print_json(matrix)
        else:
            print_table(matrix)
            click.echo(WILL_NOT_COME)
        return
    provider = providers.get(name)
    if as_json:
        print_json(provider_row(provider) | {"documentation": provider.documentation})
    else:
        click.echo(f"{provider.title} ({provider.name})\n\n{provider.documentation.strip()}")


def provider_matrix() -> list[dict[str, str]]:
    """Return one row for each provider: what it can report and how it behaves."""
    from gatherer import providers

    return [provider_row(providers.get(name)) for name in providers.names()]


def provider_row(provider: "Provider") -> dict[str, str]:
    """Return what `provider` can report and how it behaves, as one row of the matrix."""
    from gatherer.model.records import Kind

    # Receipts and answers first, then the other responses, then notices.
    reportable = (*(str(kind) for kind in Kind), "template_event", "flow_event", "account_event", "other")
    return {
        "provider": provider.name,
        "service": provider.title,
        "reports": ", ".join(kind for kind in reportable if kind in provider.reports),
        "authentication": provider.authentication,
        "when_refused": provider.on_refusal,
        "retries": provider.retries,
    }
