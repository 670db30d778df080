"""Searching, filtering, ordering and counting products over GraphQL, on real servers."""

from __future__ import annotations

import random
import uuid
from decimal import Decimal
from itertools import pairwise, product
from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.consistency import Token
from adapters.wiring import Kontor
from api.graphql import facets
from api.graphql.product_search import SEARCH_LENGTH_MAX, query_of
from commands.catalogue import AddProduct, UpdateProduct, WithdrawProduct
from commands.categories import AddCategory, RemoveCategory, UpdateCategory
from commands.inventory import ReceiveStock
from domain.identity import CategoryId
from domain.money import Money
from tests.api.reading import MANY, PRODUCTS, asked, facet, found, shown, skus
from tests.api.test_road_of_one_order import Client, anyone, staff  # noqa: F401  # fixtures
from tests.given import SYSTEM

pytestmark = pytest.mark.servers
ORDERS = ("RELEVANCE", "NAME_ASC", "PRICE_ASC", "PRICE_DESC", "NEWEST")


async def add(kontor: Kontor, sku: str, name: str = "", description: str = "", units: int = 0, **more: Any) -> None:
    price = more.pop("price", Money(255, "GBP"))
    request = AddProduct(sku=sku, name=name or sku, description=description, price=price, **more)
    await kontor.pipeline.execute(request, actor=SYSTEM)
    if units:
        await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=units), actor=SYSTEM)


async def category(kontor: Kontor, slug: str, parent_id: CategoryId | None = None) -> CategoryId:
    request = AddCategory(name=slug, slug=slug, parent_id=parent_id)
    return CategoryId((await kontor.pipeline.execute(request, actor=SYSTEM)).aggregate_id)


async def shelves(kontor: Kontor) -> None:
    """Mugs and what resembles them."""
    await add(kontor, "MUG-1", "Red mug", "Holds coffee", units=3)
    await add(kontor, "MUG-2", "Blue mugs, set of two", units=1, price=Money(999, "GBP"))
    await add(kontor, "TIN-7", "Cake tin", "Stands beside the mug", price=Money(1000, "GBP"))
    await add(kontor, "X 9/b'\\", "Decoration", "Christmas, O'Neill's café", price=Money(2999, "GBP"))
    await add(kontor, "HID-1", "Hidden mug", published=False, units=9)
    await shown(kontor)


async def test_words_find_products_while_they_are_typed(kontor: Kontor) -> None:
    await shelves(kontor)
    pages = {search: await found(kontor, search=search) for search in FOUND}
    assert {search: sorted(skus(page)) for search, page in pages.items()} == FOUND
    assert {search: page["totalCount"] for search, page in pages.items()} == {
        search: len(there) for search, there in FOUND.items()
    }


async def test_sku_stands_before_name_and_name_before_description(kontor: Kontor) -> None:
    await add(kontor, "A-9", "Tin for a mug")
    await add(kontor, "B-9", "Cup", "Not a mug")
    await add(kontor, "C-9", "Mug of clay")
    await add(kontor, "MUG", "Zinc pot")
    await add(kontor, "D-9", "A set of mugs")
    await shown(kontor)
    assert skus(await found(kontor, search="mug")) == ["MUG", "C-9", "D-9", "A-9", "B-9"]


async def test_a_word_of_several_parts_is_found_that_begins_like_the_sku(kontor: Kontor) -> None:
    await add(kontor, "7E5AB", "Lamp 7e5abcd")  # to PostgreSQL a number, and a word
    await shown(kontor)
    assert skus(await found(kontor, search="lamp 7e5abc")) == ["7E5AB"]


TYPED = (
    "WHITE HANGING HEART T-LIGHT HOLDER", "PACK/6 CUPS, 50's STYLE", "Kaffee-Tasse 0.5l", "O'Neill's café crème",
    "user@example.com mug", "3/4 inch screw M8x20", "USB-C 3.2 cable", "A&B C+D #5", "Decorations of the house",
    "running shoes", "-5 degrees", "50% off", "tea_towel v1.2.3-beta", "100,000 beads, Ø10mm", "日本 茶碗", "The Who",
)  # fmt: skip


async def test_a_name_is_found_at_every_letter_that_is_typed(kontor: Kontor) -> None:
    missed = []
    for name in TYPED:
        for typed in {name[:length].strip() for length in range(1, len(name) + 1)}:
            query = query_of(typed)
            ((there,),) = await kontor.reads.fetch(
                SQL("SELECT catalogue_words('SKU-9', %s, '') @@ ({})").format(query.sql), [name, *query.parameters]
            )
            missed += [] if there else [(name, typed)]
    assert missed == []


async def test_what_is_not_published_is_found_by_staff_alone(kontor: Kontor) -> None:
    await shelves(kontor)
    assert skus(await found(kontor, SYSTEM, search="hidden")) == ["HID-1"]
    assert facet(await found(kontor, SYSTEM, search="hidden"), "availability") == {"in_stock": 1, "out_of_stock": 0}
    assert facet(await found(kontor, search="hidden"), "availability") == {"in_stock": 0, "out_of_stock": 0}


async def test_a_product_is_found_by_what_it_is_called_now(kontor: Kontor) -> None:
    await shelves(kontor)
    first = (await found(kontor, search="mug-1"))["nodes"][0]
    request = UpdateProduct(product_id=uuid.UUID(first["id"]), name="Green bowl")  # type: ignore[arg-type]  # a NewType
    await kontor.pipeline.execute(request, actor=SYSTEM)
    await shown(kontor)
    assert skus(await found(kontor, search="green bo")) == ["MUG-1"]
    assert await found(kontor, search="red") == await found(kontor, search="zebra")
    await kontor.pipeline.execute(WithdrawProduct(product_id=request.product_id), actor=SYSTEM)
    await shown(kontor)
    assert skus(await found(kontor, search="green")) == []


async def test_filters_and_what_each_facet_leaves_out(kontor: Kontor) -> None:
    kitchen = await category(kontor, "kitchen")
    mugs = await category(kontor, "mugs", kitchen)
    await add(kontor, "A", units=1, category_ids=(mugs,), price=Money(999, "GBP"))
    await add(kontor, "B", category_ids=(mugs, kitchen), price=Money(1000, "GBP"))
    await add(kontor, "C", units=1, category_ids=(kitchen,), price=Money(200_000, "GBP"))
    await add(kontor, "D", price=Money(3, "JPY"))
    await shown(kontor)
    page = await found(kontor, where={"categorySlug": "mugs", "inStock": True})
    assert skus(page) == ["A"]
    assert facet(page, "category") == {"kitchen": 2, "mugs": 1}
    assert facet(page, "price") == {"5-9.999": 1}
    assert facet(page, "availability") == {"in_stock": 1, "out_of_stock": 1}
    page = await found(kontor, where={"categorySlug": "kitchen", "priceFrom": "10.00"})
    assert skus(page) == ["B", "C"]
    assert facet(page, "price") == {"5-9.999": 1, "10-19.999": 1, "1000-": 1}
    assert facet(page, "category") == {"kitchen": 2, "mugs": 1}
    assert skus(await found(kontor, where={"priceTo": "9.99"})) == ["A", "D"]
    assert skus(await found(kontor, where={"priceFrom": "3.0001"})) == ["A", "B", "C"]
    assert skus(await found(kontor, where={"inStock": False})) == ["B", "D"]
    assert skus(await found(kontor, where={"skus": [" A ", "D", "no"], "inStock": False})) == ["D"]


async def test_categories_that_stand_in_a_circle_or_were_removed_are_no_endless_walk(kontor: Kontor) -> None:
    upper = await category(kontor, "upper")
    lower = await category(kontor, "lower", upper)
    gone = await category(kontor, "gone", upper)
    await add(kontor, "A", category_ids=(lower,))
    await add(kontor, "B", category_ids=(gone,))
    await kontor.pipeline.execute(RemoveCategory(category_id=gone), actor=SYSTEM)
    await shown(kontor)
    async with kontor.pool.connection() as connection:  # as two moves at once could leave it
        await connection.execute("UPDATE categories_v1 SET parent_id = %s WHERE id = %s", [lower, upper])
    page = await found(kontor, where={"categorySlug": "upper"})
    assert skus(page) == ["A"]
    assert facet(page, "category") == {"upper": 1, "lower": 1}
    assert skus(await found(kontor, where={"categorySlug": "gone"})) == []


async def test_a_moved_category_takes_its_products_along(kontor: Kontor) -> None:
    one, two = await category(kontor, "one"), await category(kontor, "two")
    await add(kontor, "A", category_ids=(two,))
    await kontor.pipeline.execute(UpdateCategory(category_id=two, parent_id=one), actor=SYSTEM)
    await shown(kontor)
    assert skus(await found(kontor, where={"categorySlug": "one"})) == ["A"]


async def random_catalogue(kontor: Kontor, dice: random.Random) -> None:
    """Few names, prices and categories, so that much is equal."""
    slugs = [await category(kontor, "a")]
    slugs += [await category(kontor, "b", slugs[0]), await category(kontor, "c")]
    for number in range(40):
        await add(
            kontor,
            f"S{number:02}",
            dice.choice(["Red mug", "Blue mug", "Mug", "Tin"]),
            dice.choice(["", "a mug", "tin and mug"]),
            units=dice.choice([0, 0, 2]),
            published=dice.random() > 0.1,
            price=Money(dice.choice([99, 500, 1999, 2000, 100_000]), dice.choice(["GBP", "JPY", "BHD"])),
            category_ids=tuple(dice.sample(slugs, dice.choice([0, 1, 2]))),
        )
    await shown(kontor)


FOUND = {
    "mug": ["MUG-1", "MUG-2", "TIN-7"],
    "MUGS": ["MUG-1", "MUG-2", "TIN-7"],
    "mu": ["MUG-1", "MUG-2", "TIN-7"],
    "red mug": ["MUG-1"],
    "red OR blue": ["MUG-1", "MUG-2"],
    "cake or two": ["MUG-2", "TIN-7"],
    "mug -red": ["MUG-2", "TIN-7"],
    '"cake tin"': ["TIN-7"],
    '"tin cake"': [],
    '"mug cake"': [],
    "decorati": ["X 9/b'\\"],
    "decorations": ["X 9/b'\\"],
    "o'neil": ["X 9/b'\\"],
    "café": ["X 9/b'\\"],
    "mug-2": ["MUG-2"],
    "MUG-": ["MUG-1", "MUG-2", "TIN-7"],
    "x 9/B'\\": ["X 9/b'\\"],
    "the mug coffee": ["MUG-1"],
    "hidden": [],
    "!?! ()": [],
    "zebra": [],
    "' | & ! :* <->": [],
}
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"categorySlug": "a", "priceTo": "499.999"},
    {"inStock": False, "priceFrom": "5"},
    {"categorySlug": "c", "inStock": True, "priceFrom": "1", "priceTo": "2000"},
)


@pytest.mark.parametrize("seed", range(3))
async def test_pages_of_every_list_are_the_list_once_and_in_order(kontor: Kontor, seed: int) -> None:
    dice = random.Random(seed)
    await random_catalogue(kontor, dice)
    for order, search, where in product(ORDERS, (None, "mug", "ti"), FILTERS):
        asked_for = {"order": order, "search": search, "where": where}
        whole = await found(kontor, first=100, **asked_for)
        nodes, after, size = [], None, dice.randint(1, 9)
        for _ in range(41):  # a page each of the products, and one more
            page = await found(kontor, first=size, after=after, **asked_for)
            nodes += page["nodes"]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert nodes == whole["nodes"], (seed, asked_for)
        assert whole["totalCount"] == len(nodes) == len({node["id"] for node in nodes})
        assert ordered(order, nodes), (seed, asked_for, nodes)


def ordered(order: str, nodes: list[dict[str, Any]]) -> bool:
    """For the orders that the shown fields tell."""
    amounts = [Decimal(node["price"]["amount"]) for node in nodes]
    match order:
        case "NAME_ASC":
            return all((a["name"], a["id"]) < (b["name"], b["id"]) for a, b in pairwise(nodes))
        case "PRICE_ASC":
            return amounts == sorted(amounts)
        case "PRICE_DESC":
            return amounts == sorted(amounts, reverse=True)
        case "NEWEST":
            return skus({"nodes": nodes}) == sorted(skus({"nodes": nodes}), reverse=True)
    return True


@pytest.mark.parametrize("seed", range(3))
async def test_a_facet_s_count_is_what_its_filter_finds(kontor: Kontor, seed: int) -> None:
    await random_catalogue(kontor, random.Random(seed))
    for search, where in product((None, "mug"), FILTERS):
        page = await found(kontor, search=search, where=where)
        for name in ("category", "price", "availability"):
            for value, count in facet(page, name).items():
                chosen = where | chosen_by(name, value)
                chosen = {field: each for field, each in chosen.items() if each is not None}
                assert (await found(kontor, search=search, where=chosen))["totalCount"] == count, (seed, chosen)
        ranges = {"priceFrom", "priceTo"}
        without = {field: each for field, each in where.items() if field not in ranges}
        assert sum(facet(page, "price").values()) == (await found(kontor, search=search, where=without))["totalCount"]


def chosen_by(name: str, value: str) -> dict[str, Any]:
    """The filter with this facet's value instead of its own."""
    if name == "category":
        return {"categorySlug": value}
    if name == "availability":
        return {"inStock": value == "in_stock"}
    start, _, end = value.partition("-")
    return {"priceFrom": start, "priceTo": end or None}


async def test_more_products_than_are_counted_have_no_facets(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelves(kontor)
    monkeypatch.setattr(facets, "FACETED_PRODUCTS_MAX", 4)
    assert facet(await found(kontor), "availability") == {"in_stock": 2, "out_of_stock": 2}
    monkeypatch.setattr(facets, "FACETED_PRODUCTS_MAX", 3)
    assert (await found(kontor))["facets"] == []
    assert facet(await found(kontor, search="mug"), "availability") == {"in_stock": 2, "out_of_stock": 1}


async def test_nobody_waits_for_the_exact_number_of_very_many(kontor: Kontor) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute(MANY, [10_001])
    assert (await found(kontor, search="kitchen"))["totalCount"] is None
    assert (await found(kontor, search="kitchen", where={"priceFrom": "1.02"}))["totalCount"] == 10_000


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"search": "x" * (SEARCH_LENGTH_MAX + 1)}, "201 characters"),
    ({"search": "mug" * 30_000}, "90000 characters"),
    ({"search": "mug\0"}, "control character"),
    ({"search": "-mug"}, "leave out"),
    ({"search": "mug or -red"}, "leave out"),
    ({"where": {"priceFrom": "2", "priceTo": "1.99"}}, "above priceTo"),
    ({"where": {"categorySlug": "a\0"}}, "control character"),
    ({"where": {"skus": ["A"] * 101}}, "101 SKUs"),
    ({"first": 0}, "1 to 100"),
    ({"first": 101}, "1 to 100"),
    ({"after": "x"}, "not a cursor"),
)
EMPTY: tuple[dict[str, Any], ...] = (
    {"search": "z " * (SEARCH_LENGTH_MAX // 2)},
    {"search": "'\"" * 100},
    {"search": "\\" * 200},
    {"search": "a" * 200},
    {"search": "(((((" + "😀" * 100},
    {"where": {"priceFrom": "-9" + "9" * 19, "priceTo": "-1"}},
    {"where": {"priceFrom": "9" * 20}},
    {"where": {"categorySlug": "no such"}},
    {"where": {"skus": []}},
    {"where": {"skus": ["\0"]}},
)


async def test_what_cannot_be_asked_is_refused_with_a_sentence(kontor: Kontor) -> None:
    for variables, message in REFUSED:
        answer = await asked(kontor, PRODUCTS, **variables)
        assert answer.errors is not None, variables
        assert message in answer.errors[0].message
        assert getattr(answer.errors[0].original_error, "code", None) == "INVALID"


async def test_a_slug_that_none_can_be_is_refused_with_a_sentence(kontor: Kontor) -> None:
    answer = await asked(kontor, "query($s: String!) { category(slug: $s) { id } }", s="mugs\0")
    assert answer.errors is not None
    assert "control character" in answer.errors[0].message


async def test_what_nothing_can_match_is_an_empty_page(kontor: Kontor) -> None:
    await shelves(kontor)
    for variables in EMPTY:
        page = await found(kontor, **variables)
        assert (page["nodes"], page["totalCount"]) == ([], 0), variables


async def test_an_empty_search_is_none(kontor: Kontor) -> None:
    await shelves(kontor)
    assert await found(kontor, search=" ") == await found(kontor) == await found(kontor, order="NAME_ASC")


async def test_a_cursor_is_of_one_list(kontor: Kontor) -> None:
    await shelves(kontor)
    cursor = (await found(kontor, search="mug", first=1))["pageInfo"]["endCursor"]
    assert len(skus(await found(kontor, search="mug", after=cursor))) == 2
    for other in (
        {"search": "mug", "order": "PRICE_ASC"},
        {"search": "mugs", "order": "RELEVANCE"},
        {"search": None, "order": "RELEVANCE"},
        {"search": "mug", "order": "RELEVANCE", "where": {"inStock": True}},
    ):
        answer = await asked(kontor, PRODUCTS, after=cursor, **other)
        assert answer.errors is not None, other
        assert "cursor" in answer.errors[0].message


async def test_a_read_says_when_a_view_that_it_needs_is_behind(kontor: Kontor) -> None:
    await shelves(kontor)
    outcome = await kontor.pipeline.execute(ReceiveStock(sku="TIN-7", quantity=1), actor=SYSTEM)
    token = Token(tuple(outcome.heads)).encoded()

    def stale(answer: Any) -> bool:
        return bool(answer.extensions["consistency"]["stale"])

    bare = "query($w: ProductFilter, $t: ConsistencyToken) { products(where: $w, consistentWith: $t) { nodes { id } } }"
    assert not stale(await asked(kontor, bare, t=token))
    assert stale(await asked(kontor, bare, w={"inStock": True}, t=token))
    assert stale(await asked(kontor, bare.replace("nodes { id }", "facets { name }"), t=token))
    await shown(kontor)
    answer = await asked(kontor, PRODUCTS, where={"inStock": True}, token=token)
    assert "TIN-7" in skus((answer.data or {})["products"])


def test_the_last_word_may_still_be_typed_unless_it_is_quoted_or_excluded() -> None:
    assert query_of("red mu").parameters == ("", "red ", "mu", "'mu':*", "'red mu':*")
    assert query_of("a or red mu").parameters == ("a", "red ", "mu", "'mu':*", "'a or red mu':*")
    assert query_of("red -mu").parameters == ("red -mu", "'red -mu':*")
    assert query_of('red "mu').parameters == ('red "mu', "'red \"mu':*")


async def test_a_new_product_is_found_with_the_token_of_adding_it(staff: Client) -> None:  # noqa: F811  # the fixture
    document = "mutation($i: AddProductInput!) { addProduct(input: $i) { receipt { token } } }"
    for _ in range(5):
        word = uuid.uuid4().hex
        made = {"sku": word[:12], "name": f"Zoo {word}", "price": {"amount": "2.55", "currency": "GBP"}}
        token = (await staff(document, i=made))["addProduct"]["receipt"]["token"]
        page = (await staff(PRODUCTS, {"Kontor-Require": "fresh"}, search=f"zoo {word[:20]}", token=token))["products"]
        assert skus(page) == [word[:12]]
