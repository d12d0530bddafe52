"""A real local stack for demos and tests: Kafka, Flink with its SQL Gateway, and an Iceberg catalog.

Everything is started directly as processes on free loopback ports and lives below one directory; no
containers are needed. Start with `playground.stack.Stack`, or with `python -m playground up DIR`.
"""

from __future__ import annotations
