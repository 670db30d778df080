"""The servers and processes of one installation as children of one launcher.

`launch` runs the whole stack for `kontor up`, `servers` only PostgreSQL, Kafka and Valkey for a test run. Everything
lives under one directory (`home`), listens on loopback, and is stopped by its recorded process id, never by a name.
"""
