"""The operations kit: a project's promises as rules for Prometheus, routes for Alertmanager, and a dashboard for Grafana."""
