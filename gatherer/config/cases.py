"""The cases of `gatherer init --for`: which provider sends the requests, how, and where its URL is entered."""

import re
import textwrap
from dataclasses import dataclass
from typing import Final

from gatherer import providers
from gatherer.model.errors import ConfigurationError
from gatherer.providers.base import Provider

BASIC_USER: Final = "gatherer"
_BASIC: Final = frozenset({"enablex"})  # providers that send HTTP Basic; the others have a key in the URL
# Providers that also understand Meta's form, which `gatherer simulate` sends.
_META_FORM: Final = frozenset({"meta", "onprem", "enablex"})
_META_STEPS: Final = """\
and there
  - subscribe to the webhook fields "messages" and "user_preferences": without the second, you do not learn
    who stops marketing messages in WhatsApp itself;
  - subscribe the app to your WhatsApp Business Account (POST /<account id>/subscribed_apps):
    without it, only the dashboard's Test button gets through;
  - copy the App Secret (App settings, Basic): in app_secrets of the endpoint, where --secret FILE writes it,
    it makes gatherer check signatures."""
_APTECO_STEPS: Final = """\
and ask Apteco to
  - forward the webhook fields "messages" and "user_preferences" of your number to this URL, as POST with
    the unchanged body: without the second, you do not learn who stops marketing messages in WhatsApp itself;
  - send a request again unless the answer is 200, which means that it is stored.
The App Secret stays with Apteco: gatherer checks the key in the URL, and no signature."""
_CBOT_STEPS: Final = """\
and ask Cbot to
  - set this URL for your number (POST /v1/configs/webhook), and again after each new API key;
  - send the receipts "sent" as well (sent_status), which are off by default;
  - send a request again unless the answer is 200, which means that it is stored."""
_PARTNERS: Final = {  # cases that are no provider: the provider, and what the partner must do
    "apteco": ("meta", "Send this to Apteco, which forwards your webhooks", _APTECO_STEPS),
    "cbot": ("onprem", "Send this to Cbot", _CBOT_STEPS),
}
_SET_UP: Final = re.compile(r"^Set-up\n((?:[ ]+\S.*\n)+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way in which notifications reach an endpoint."""

    provider: Provider
    heading: str  # where to enter the URL, or to whom to send it
    steps: str  # what else to do there

    @property
    def has_basic(self) -> bool:
        """Whether HTTP Basic authenticates the requests. Otherwise a key in the URL does."""
        return self.provider.name in _BASIC

    @property
    def can_be_simulated(self) -> bool:
        """Whether rows come of what `gatherer simulate` sends."""
        return self.provider.name in _META_FORM


def find(name: str) -> Case:
    """Return the case `name`: a partner or a provider.

    Raises:
        ConfigurationError: there is no such case.

    """
    if name in _PARTNERS:
        provider_name, heading, steps = _PARTNERS[name]
        return Case(provider=providers.get(provider_name), heading=heading, steps=steps)
    names = providers.names()
    if name not in names:
        raise ConfigurationError(f"there is no case {name!r}; there are: {', '.join([*_PARTNERS, *names])}")
    provider = providers.get(name)
    if name == "meta":
        heading = "At Meta (App Dashboard, WhatsApp, Configuration), enter"
        return Case(provider=provider, heading=heading, steps=_META_STEPS)
    set_up = _SET_UP.search(provider.documentation)
    steps = "Set-up\n" + textwrap.indent(textwrap.dedent(set_up[1]).rstrip(), "  ") if set_up else ""
    return Case(provider=provider, heading=f"For {provider.title}", steps=steps)
