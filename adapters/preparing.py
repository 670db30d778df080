"""What a database needs before the processes start: the schema, the stable keys, and the roles they connect as."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool

from adapters.database_roles import Login, grant
from adapters.personal_data import PersonalDataBox
from adapters.schema import migrate
from adapters.settings import Settings
from adapters.table_grants import ANALYST, API, RELAY, WORKER
from adapters.wiring import master_keys_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """The migrations that were applied now, and the roles that have their rights."""

    applied: list[str]
    roles: list[str]


async def prepare_database(settings: Settings) -> Prepared:
    """Safe to repeat, and beside processes that work.

    Raises what `adapters.schema.migrate` and `adapters.database_roles.grant` raise, and WrongMasterKey."""
    owner_url = settings.postgres_owner_url.get_secret_value() or settings.postgres_url
    applied = await migrate(owner_url)
    # Roles that may only read these keys find them made.
    async with AsyncConnectionPool(owner_url, min_size=1, max_size=1, open=False) as pool:
        await PersonalDataBox(pool, master_keys_of(settings)).prepare()
    return Prepared(applied, await grant(owner_url, logins_of(settings)))


def logins_of(settings: Settings) -> list[Login]:
    """The roles that the settings name. Raises RolesRefused."""
    urls = {
        API: settings.postgres_api_url,
        WORKER: settings.postgres_worker_url,
        RELAY: settings.postgres_relay_url,
        ANALYST: settings.postgres_analyst_url,
    }
    return [Login.of(part, url.get_secret_value()) for part, url in urls.items() if url.get_secret_value()]
