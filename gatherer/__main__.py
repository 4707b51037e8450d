"""Lets `python -m gatherer` do what the `gatherer` command does."""

from gatherer.cli import main

if __name__ == "__main__":
    main()
