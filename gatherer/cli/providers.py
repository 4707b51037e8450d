"""`gatherer providers`."""

import click


@click.command("providers")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(name: str | None, *, as_json: bool) -> None:
    """List the providers, what each can report and how it behaves; with NAME, how to set that one up.

    \b
    Examples: gatherer providers
              gatherer providers wati
    """
    from gatherer import providers, report
    from gatherer.cli.output import print_json, print_table

    if name is None:
        matrix = report.provider_matrix()
        if as_json:
            print_json(matrix)
        else:
            print_table(matrix)
            click.echo(report.WILL_NOT_COME)
        return
    provider = providers.get(name)
    if as_json:
        print_json(report.provider_row(provider) | {"documentation": provider.documentation})
    else:
        click.echo(f"{provider.title} ({provider.name})\n\n{provider.documentation.strip()}")
