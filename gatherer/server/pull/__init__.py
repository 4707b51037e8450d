"""Offering the inbox to a gatherer on another machine: `[pull]`, the serving side of `gatherer.inbox.remote.inbox`."""
