"""``python -m facetell``, and where the command begins."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command. Ctrl-C while it is still being imported ends as it does later."""
    try:
        from facetell.cli.main import main as command
        from facetell.own_process import take

        take()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
