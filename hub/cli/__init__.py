"""qianshao-hub: the command line, and the composition root where settings become concrete adapters."""

from hub.cli.commands import app


def main() -> None:
    """Entry point of `qianshao-hub`."""
    app()


__all__ = ["app", "main"]
