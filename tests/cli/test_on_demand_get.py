"""On-demand features on the command line: values of the request are typed like join keys."""

from __future__ import annotations

GEO = """\
import timewell as tw


@tw.transform(version="v1")
def country_to_id(country: str) -> int:
    return {"US": 1, "CA": 2}.get(country, 0)


@tw.transform(version="v1")
def per_price(order_amount_7d: float | None, price: float, day: str | None) -> float | None:
    return None if order_amount_7d is None else order_amount_7d / price


country_id = tw.Feature(name="country_id", owner="geo@company", transform=country_to_id)
amount_per_price = tw.Feature(name="amount_per_price", owner="geo@company", transform=per_price)
"""


def test_values_of_the_request_are_given_by_name(shop, cli) -> None:
    (shop / "features" / "geo.py").write_text(GEO)
    assert cli("apply").code == 0
    assert cli("materialize", "online", "order_amount_7d").code == 0
    told = cli("get", "country_id", "--request", "country=CA", "--json")
    assert told.document["rows"] == [{"values": [2], "statuses": ["present"]}]
    stored = cli("get", "order_amount_7d", "-e", "user_id=7", "--json").document["rows"][0]["values"][0]
    told = cli("get", "amount_per_price", "-e", "user_id=7", "-r", "price=2,day=x", "--json").document
    assert told["rows"][0]["values"] == [stored / 2]
    assert (
        "amount_per_price" in cli("get", "amount_per_price", "-e", "user_id=7", "-r", '{"price": 2, "day": null}').out
    )

    misspelled = cli("get", "country_id", "--request", "contry=CA")
    assert (misspelled.code, "request value 'contry'" in misspelled.err) == (2, True)
    missing = cli("get", "country_id")
    assert (missing.code, "'country'" in missing.err) == (2, True)
    keyless = cli("get", "order_amount_7d")
    assert (keyless.code, "user_id" in keyless.err) == (2, True)
