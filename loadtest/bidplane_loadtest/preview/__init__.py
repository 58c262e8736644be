"""A picture of the dashboards without Grafana: the same JSON, drawn against a Prometheus.

It is not Grafana: it knows the panels that our dashboards have, and draws them its own way.
"""
