"""qianshao-edge: the agent's command line (laid down by the servers slice)."""

import typer

app = typer.Typer(no_args_is_help=True, help="平安黔哨 edge agent.")


def main() -> None:
    """Entry point."""
    app()
