"""What Prometheus would see: real scrapes, one after the other, and the same as input of `promtool test rules`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

STEP = 15
"""Seconds between two scrapes, as in deploy/observability/prometheus.yml. A test scrapes faster and says so here: what
it saw in a second stands for what a slower fault shows in fifteen."""

Series = Mapping[str, float]


@dataclass
class Scrapes:
    """Scrapes of one process, in order; where it did not answer, `up` alone is there and 0, as Prometheus writes it."""

    service: str
    instance: str
    seen: list[Series] = field(default_factory=list)

    async def take(self, client: httpx.AsyncClient) -> Series:
        """Scrape once."""
        labels = {"job": "batchwise", "service": self.service, "instance": self.instance}
        try:
            answer = await client.get(f"http://{self.instance}/metrics", timeout=2)
            answer.raise_for_status()
        except httpx.HTTPError:
            found = {_written("up", labels): 0.0}
        else:
            found = {_written("up", labels): 1.0}
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    if not math.isnan(sample.value):
                        found[_written(sample.name, {**sample.labels, **labels})] = sample.value
        self.seen.append(found)
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """What the last scrape said of a series, by some of its labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for series, value in self.seen[-1].items():
            if series.startswith(f"{name}{{") and all(each in series for each in wanted):
                return value
        return None


def _written(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"


def as_test(seen: Sequence[Series], *, stays: int, firing: Sequence[str]) -> dict[str, Any]:
    """A group for `promtool test rules`: after these scrapes and `stays` more like the last, exactly `firing` fires."""
    names = dict.fromkeys(name for scrape in seen for name in scrape)
    written = []
    for name in names:
        values = [repr(scrape[name]) if name in scrape else "_" for scrape in seen]
        # A series that the last scrape did not show is gone, as Prometheus marks it.
        values.append(f"{seen[-1][name]!r}+0x{stays - 1}" if name in seen[-1] else "stale")
        written.append({"series": name, "values": " ".join(values)})
    return {
        "interval": f"{STEP}s",
        "input_series": written,
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{(len(seen) + stays - 1) * STEP}s",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)],
            }
        ],
    }
