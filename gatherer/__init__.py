"""Gathers WhatsApp campaign responses from webhooks into SQL, once each, none lost."""

__version__ = "0.2.0"
