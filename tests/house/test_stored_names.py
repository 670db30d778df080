"""Names and shapes that are stored for ever: what is in `tests/golden` must be readable by every later version.

A file there is never changed. A new shape of an event gets a new class_version, an upcaster and a file `.v2.json`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.domain import Aggregate

import domain
from adapters.event_codec import EventMapper, renamed_fields, schema_version_of
from domain import CONTEXT_OF, CONTEXTS, EVENT_TYPES, aggregate_type_of

GOLDEN = Path(__file__).parents[1] / "golden"
AGGREGATE_ID = UUID("01900000-0000-7000-8000-000000000001")


def aggregates() -> list[type[Aggregate]]:
    """Every aggregate class that a module of the domain defines, whether CONTEXTS lists it or not."""
    found = []
    for module in pkgutil.iter_modules(domain.__path__, "domain."):
        for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(each, Aggregate) and each.__module__ == module.name:
                found.append(each)
    return found


def events_of(aggregate: type[Aggregate]) -> list[type]:
    """The event classes it defines itself; the library's own, which it makes for every aggregate, have no TOPIC."""
    return [
        each
        for name, each in vars(aggregate).items()
        if inspect.isclass(each) and issubclass(each, Aggregate.Event) and name != "Event"
    ]


def as_written(each: type) -> list[type]:
    """The class and those bases of it that are the domain's: the library puts a subclass in an event's place."""
    return [base for base in each.__mro__ if base.__module__.startswith("domain.")]


EVENTS = [event for aggregate in aggregates() for event in events_of(aggregate)]
FILES = sorted((GOLDEN / "events").glob("*.json"))


@pytest.mark.parametrize("each", [*aggregates(), *EVENTS], ids=lambda each: each.__qualname__)
def test_every_aggregate_and_event_has_a_topic_of_its_own(each: type) -> None:
    assert any(isinstance(vars(base).get("TOPIC"), str) for base in as_written(each))


def test_the_topic_of_an_event_begins_with_its_aggregate() -> None:
    for aggregate in aggregates():
        for event in events_of(aggregate):
            assert event.TOPIC.startswith(f"{aggregate.TOPIC}.")
            assert aggregate_type_of(event.TOPIC) == aggregate.TOPIC


def test_no_topic_is_used_twice() -> None:
    topics = [each.TOPIC for each in (*aggregates(), *EVENTS)]
    assert len(topics) == len(set(topics))


def test_every_aggregate_belongs_to_one_context() -> None:
    assert {each.TOPIC for each in aggregates()} == set(CONTEXT_OF)
    listed = {topic: each for context in CONTEXTS.values() for topic, each in context.items()}
    assert {topic: each.TOPIC for topic, each in listed.items()} == {topic: topic for topic in listed}


def test_the_topics_are_those_that_were_stored() -> None:
    golden = (GOLDEN / "topics.txt").read_text().split()
    assert golden == sorted(golden)
    assert {each.TOPIC for each in (*aggregates(), *EVENTS)} == set(golden)


def test_the_contexts_are_those_that_were_stored() -> None:
    assert {context: sorted(each) for context, each in CONTEXTS.items()} == {
        "users": ["email", "sign_in", "user"],
        "catalogue": ["category", "product", "slug"],
        "inventory": ["stock"],
        "orders": ["order"],
        "payments": ["payment"],
        "webhooks": ["webhook"],
        "notifications": ["notification"],
    }


def test_every_version_of_every_event_has_a_golden_file() -> None:
    expected = {
        f"{event.TOPIC}.v{version}.json" for event in EVENTS for version in range(1, schema_version_of(event) + 1)
    }
    assert {path.name for path in FILES} == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_event_is_read_and_written_again_as_it_was(path: Path) -> None:
    topic, _, version = path.stem.rpartition(".v")
    mapper = EventMapper()
    event = mapper.decode(topic, int(version), path.read_bytes(), AGGREGATE_ID, 3)
    assert isinstance(event, {each.TOPIC: each for each in EVENTS}[topic])
    assert (event.originator_id, event.originator_version) == (AGGREGATE_ID, 3)
    stored = mapper.to_stored_event(event)
    assert (stored.topic, stored.originator_id, stored.originator_version) == (topic, AGGREGATE_ID, 3)
    if int(version) == schema_version_of(type(event)):
        assert json.loads(stored.state) == json.loads(path.read_bytes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_event_holds_every_field_of_its_class(path: Path) -> None:
    topic, _, version = path.stem.rpartition(".v")
    event = {each.TOPIC: each for each in EVENTS}[topic]
    if int(version) == schema_version_of(event):
        renamed = renamed_fields(event)
        declared = {renamed.get(name, name) for base in as_written(event) for name in inspect.get_annotations(base)}
        assert set(json.loads(path.read_bytes())) == {"timestamp"} | declared


def test_the_domain_names_every_event_type() -> None:
    assert {each.TOPIC for each in EVENTS} == EVENT_TYPES
