"""Grafana dashboards as code: one module per dashboard; `export` writes their JSON for the chart.

Needs grafana-foundation-sdk, which is a tool of developers: what reads the JSON does without it.
"""

import warnings

# The SDK prefers the second form of dashboards, which only Grafana 12 and later read; sidecars and
# older ones want the first, so its advice is not followed.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard as _dashboard
    from grafana_foundation_sdk.builders import heatmap, stat, table, timeseries

__all__: list[str] = []
_first_form = (_dashboard, heatmap, stat, table, timeseries)
