"""From YAML to a machine, and from a trace to a result."""
