"""qianshao-hub: the hub's command line (laid down by the servers slice)."""

import typer

app = typer.Typer(no_args_is_help=True, help="平安黔哨 Hub.")


def main() -> None:
    """Entry point."""
    app()
