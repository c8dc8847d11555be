"""What operators need: rules, dashboards, runbooks, and the services of a single machine (`ops.local`)."""
