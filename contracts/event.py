"""What every event is: one frozen fact, closed for its speaker and tolerant for its listeners."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A value inside an event. Frozen; writing an unknown field is refused (the speaker is closed)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Event(Part):
    """A fact in the past tense.

    `event_type` is the CloudEvents type, `<owner>.<ClassName>`; the major version is that of the topic.
    `key_field` names the field whose text is the Kafka key: all events of one key keep their order.
    """

    event_type: ClassVar[str] = ""
    key_field: ClassVar[str] = "item_id"

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        """Name the event after its module: `contracts.inventory` + `StockMoved` → `inventory.StockMoved`."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.event_type = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"

    @property
    def key(self) -> str:
        """The partition key, as text."""
        return str(getattr(self, self.key_field))

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Parse what another service said: unknown fields are ignored, at every depth.

        Raises `pydantic.ValidationError` naming each field that is missing or out of its limits.
        """
        return cls.model_validate_json(body, extra="ignore")

    def write(self) -> bytes:
        """The JSON body as it goes on the topic (UTF-8; absent optional values are left out)."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


_TOPIC_NAME = re.compile(r"[a-z]+\.[a-z-]+\.v[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Topic:
    """One owner's events about one subject, told apart by type.

    `compacted` topics keep the last event of each key; all others keep every event for ever.
    `foreign` topics are spoken by a system that is not ours (MES, ERP): no envelope is expected there.
    """

    name: str
    about: str
    events: tuple[type[Event], ...]
    compacted: bool = False
    foreign: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that is not `owner.subject.vN`."""
        if not _TOPIC_NAME.fullmatch(self.name):
            raise ValueError(f"topic {self.name!r}: names are owner.subject.vN, in lower case")

    @property
    def owner(self) -> str:
        """Who speaks: the first part of the name."""
        return self.name.partition(".")[0]
