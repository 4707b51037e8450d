"""One module for each command: it opens what the configuration names and calls the layers below."""
