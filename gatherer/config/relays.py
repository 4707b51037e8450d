"""`[endpoint.sns]` and `[endpoint.event_grid]`: services that pass on requests after a handshake of their own."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator, model_validator

from gatherer.config.base import Section

_TOPIC: Final = re.compile(r"arn:([a-z-]+):sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII)
# The domains of AWS by the second part of an ARN.
_DOMAINS: Final = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
}


def _is_topic(topic: str) -> str:
    if _TOPIC.fullmatch(topic) is None:
        raise ValueError('expected the ARN of a topic, as in "arn:aws:sns:eu-west-1:123456789012:whatsapp"')
    return topic


def _is_host(host: str) -> str:
    if _HOST.fullmatch(host) is None:
        raise ValueError('expected the name of a host, as in "sns.eu-west-1.amazonaws.com"')
    return host


class SNS(Section):
    """Amazon SNS posts to this endpoint. Each message must have its signature."""

    topics: list[Annotated[str, AfterValidator(_is_topic)]] = Field(min_length=1)
    """The ARNs of the topics whose messages are accepted, and whose subscriptions are confirmed."""
    hosts: list[Annotated[str, AfterValidator(_is_host)]] = []
    """The hosts that SNS's certificates are fetched from and subscriptions are confirmed at.
    Left out: the host of SNS in the region of each topic, such as `sns.eu-west-1.amazonaws.com`."""

    @property
    def allowed_hosts(self) -> list[str]:
        """The hosts that `gatherer serve` may send requests to."""
        return self.hosts or [
            f"sns.{match[2]}.{_DOMAINS[match[1]]}"
            for topic in self.topics
            if (match := _TOPIC.fullmatch(topic))
        ]

    @model_validator(mode="after")
    def _has_hosts(self) -> "SNS":
        for topic in self.topics:
            match = _TOPIC.fullmatch(topic)
            if not self.hosts and match is not None and match[1] not in _DOMAINS:
                raise ValueError(f"the host of SNS for {topic} is not known: set hosts")
        return self


class EventGrid(Section):
    """Azure Event Grid posts to this endpoint. Its handshakes are answered; other settings authenticate its requests."""

    topics: list[str] = Field(min_length=1)
    """The resource ids of the topics, as in
    `/subscriptions/…/resourceGroups/…/providers/Microsoft.Communication/CommunicationServices/…`."""
    origin: str = "eventgrid.azure.net"
    """The name under which Event Grid asks whether it may send events of the CloudEvents schema."""

    @field_validator("topics")
    @classmethod
    def _are_resource_ids(cls, topics: list[str]) -> list[str]:
        for topic in topics:
            if not topic.startswith("/"):
                raise ValueError(
                    f'expected the resource id of a topic, as in "/subscriptions/…", not {topic!r}'
                )
        return topics

    @field_validator("origin")
    @classmethod
    def _is_name(cls, origin: str) -> str:
        return _is_host(origin.lower())
