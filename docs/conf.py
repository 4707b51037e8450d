"""The settings of Sphinx for `scripts/docs`."""

from gatherer import __version__

project = "gatherer"
author = "gatherer contributors"
copyright = author  # noqa: A001 - Sphinx's name for it
release = __version__
html_theme = "furo"
html_title = f"gatherer {__version__}"
nitpicky = True
