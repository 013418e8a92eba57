"""``python -m facetell``: the command."""

from facetell.cli.main import main

if __name__ == "__main__":
    main()
