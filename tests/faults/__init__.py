"""Faults on the whole, running system: real processes on real servers, hit at random moments under load.

`crowd` is the load and keeps a ledger of what was acknowledged; `faults` is the table of what is done to the system;
`checker` reads log, Kafka, views, Redis and the ledger afterwards; `trial` puts them together. Each trial has a seed.
`make faults N=30` runs them again and again; `test_faults.py` runs each once.
"""
