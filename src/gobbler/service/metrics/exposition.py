"""The text in which Prometheus reads metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gobbler import __version__
from gobbler.service.metrics.measured import Measured
from gobbler.service.metrics.metrics import BUCKETS, FAMILIES, Family, Key, Kind

_BUCKET, _SUM = "_bucket", "_sum"


def exposition(
    values: Mapping[Key, float], measured: Iterable[Measured], accept: str
) -> tuple[bytes, str]:
    """The text of all metrics, and its media type, as the header ``Accept`` asks for it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Values(values, tuple(measured)))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Values(Collector):
    def __init__(self, values: Mapping[Key, float], measured: tuple[Measured, ...]) -> None:
        self._values = values
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("gobbler_build_info", "The version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        for family in FAMILIES:
            if family.name.endswith(_BUCKET):
                yield self._histogram(family)
            elif not family.name.endswith(_SUM):
                yield self._family(family)
        for gauge in self._measured:
            shown = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label])
            for value, number in sorted(gauge.samples.items()):
                shown.add_metric([value], number)
            yield shown

    def _family(self, family: Family) -> Metric:
        kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
        shown = kind(family.name, family.help, labels=[name for name, _ in family.labels])
        for (name, labels), value in self._values.items():
            if name == family.name:
                shown.add_metric(list(labels), value)
        return shown

    def _histogram(self, family: Family) -> Metric:
        name = family.name.removesuffix(_BUCKET)
        (label, values), (_, limits) = family.labels
        shown = HistogramMetricFamily(name, family.help, labels=[label])
        assert len(limits) == len(BUCKETS) + 1
        for value in values:
            total = 0.0
            buckets = []
            for limit in limits:
                total += self._values[family.name, (value, limit)]
                buckets.append((limit, total))
            shown.add_metric([value], buckets, self._values[name + _SUM, (value,)])
        return shown
