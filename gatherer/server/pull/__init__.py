"""The server of `[pull]`, from which `gatherer gather` on another machine reads the inbox (`gatherer.inbox.remote`)."""
