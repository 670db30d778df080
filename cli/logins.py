"""The demo's people: who may sign in on an installation that holds demo data.

The passwords are public on purpose, so demo data is never loaded where KONTOR_ENVIRONMENT is production.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Login:
    """One person of the demo and what this person may do."""

    email: str
    password: str
    name: str
    roles: tuple[str, ...]


DEMO_LOGINS: dict[str, Login] = {
    "admin": Login("admin@kontor.test", "kontor-demo-admin", "Ada Admin", ("ADMIN", "STAFF")),
    "staff": Login("staff@kontor.test", "kontor-demo-staff", "Stefan Staff", ("STAFF",)),
    "customer": Login("customer@kontor.test", "kontor-demo-customer", "Carla Customer", ("CUSTOMER",)),
    "analyst": Login("analyst@kontor.test", "kontor-demo-analyst", "Anton Analyst", ("ANALYST",)),
    "integrator": Login("integrator@kontor.test", "kontor-demo-integrator", "Ines Integrator", ("INTEGRATOR",)),
}
