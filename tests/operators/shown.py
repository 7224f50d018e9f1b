"""What services show at /metrics, by family as a page tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Shown:
    """One metric: its help, its labels (None while it has no sample), and each series name with its labels."""

    about: str
    labels: frozenset[str] | None
    series: list[tuple[str, set[str]]]


async def shown_metrics(urls: Mapping[str, str]) -> dict[str, dict[str, Shown]]:
    """Service → metric as it is written in queries (a counter with `_total`) → what it shows now."""
    found: dict[str, dict[str, Shown]] = {}
    async with httpx.AsyncClient(trust_env=False) as client:
        for service, url in urls.items():
            text = (await client.get(f"{url}/metrics")).text
            found[service] = {}
            for family in text_string_to_metric_families(text):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                labels = [set(sample.labels) for sample in family.samples]
                series = [(sample.name, names) for sample, names in zip(family.samples, labels, strict=True)]
                if not series:
                    ends = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
                    series = [(name + end, set()) for end in ends]
                whole = frozenset().union(*labels) - {"le"} if labels else None
                found[service][name] = Shown(family.documentation, whole, series)
    return found
