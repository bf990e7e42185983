"""The only place that speaks HTTP to Kubernetes."""
