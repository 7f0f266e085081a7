"""What a read through the embedded store costs, against LMDB's own gets and msgspec's own decode in the same run.

    ./run bench online_get [--rows 100000]

Each figure is the best of several repetitions; ratios count, the absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import lmdb
import msgspec
import pyarrow as pa

from timewell.backends.lmdb import open as open_lmdb
from timewell.stores.bulk import encode_keys, encode_pairs, encode_rows
from timewell.stores.codec import RowCodec, key_encoder
from timewell.stores.online import BuildMark, ReadKeys

TYPES = ["float64"] * 4 + ["int64"] * 4 + ["string", "bool"]
BUILD = "bench/v1/1"


def table_of(rows: int) -> pa.Table:
    chance = random.Random(1)
    columns: dict[str, list[object]] = {"user_id": list(range(rows))}
    for place, dtype in enumerate(TYPES):
        make: dict[str, Callable[[], object]] = {
            "float64": chance.random,
            "int64": lambda: chance.randrange(10_000),
            "string": lambda: f"text {chance.randrange(100)}",
            "bool": lambda: chance.random() < 0.5,
        }
        columns[f"f{place}"] = [make[dtype]() for _ in range(rows)]
    return pa.table(columns)


def best_us(work: Callable[[], object], number: int) -> float:
    work()
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6


def line(what: str, ours_us: float, raw_us: float) -> None:
    print(f"{what:<46} {ours_us:>9.2f} {raw_us:>9.2f} {ours_us / raw_us:>7.2f}")


def rate(what: str, rows: int, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{what:<46} {rows / (time.perf_counter() - began) / 1e3:>9.0f} k rows/s")


def measure(place: Path, rows: int) -> None:
    table = table_of(rows)
    codec = RowCodec(names=table.column_names[1:], types=TYPES)
    values = table.drop_columns(["user_id"])
    rate("encode keys in bulk (int64)", rows, lambda: list(encode_keys(table, ["int64"], ["user_id"])))
    rate("encode rows in bulk (10 features)", rows, lambda: list(encode_rows(values, codec)))
    pairs = list(encode_pairs(encode_keys(table, ["int64"], ["user_id"]), encode_rows(values, codec)))
    mark = BuildMark(as_of_us=1, lease_epoch=1, refresh_seq=1, rows=0, data_through_us=1, schema_hash=codec.schema_hash)
    store = open_lmdb(place / "store")
    rate("load", rows, lambda: store.load(BUILD, pairs, mark))
    rate("refresh a tenth of the rows", rows // 10, lambda: store.refresh(BUILD, pairs[::10], [], mark))
    raw = lmdb.open(str(place / "raw"), map_size=1 << 32)
    with raw.begin(write=True) as txn:
        txn.cursor().putmulti(pairs)

    encode = key_encoder(["int64"], ["user_id"])
    unpack = msgspec.msgpack.Decoder(list).decode
    print(f"\n{'microseconds':<46} {'timewell':>9} {'raw':>9} {'ratio':>7}")
    for count in (1, 100):
        asked = [random.Random(2).randrange(rows) for _ in range(count)]
        keys = [key for number in asked if (key := encode([number]))]
        wanted = [ReadKeys(BUILD, keys)]
        number = 20_000 // count

        def get(keys: list[bytes] = keys) -> list[bytes | None]:
            with raw.begin() as txn:
                return [txn.get(key) for key in keys]

        packed = [row for row in get() if row]
        line(f"get {count} rows", best_us(lambda w=wanted: store.read(w), number), best_us(get, number))
        line(
            f"decode {count} rows of 10 features",
            best_us(lambda p=packed: codec.decode_many(p), number),
            best_us(lambda p=packed: [unpack(row) for row in p], number),
        )
        line(
            f"encode {count} keys, get, decode",
            best_us(
                lambda a=asked: codec.decode_many(store.read([ReadKeys(BUILD, [encode([n]) for n in a])])[0].rows),
                number,
            ),
            best_us(lambda: [unpack(row) for row in get() if row], number),
        )
    dated = RowCodec(names=list("abcdefghij"), types=["timestamp", "date", "decimal(10,2)", *["float64"] * 7])
    plain = RowCodec(names=list("abcdefghij"), types=["int64", "int64", "string", *["float64"] * 7])
    packed_one = plain.encode([1_772_323_200_000_000, 20_513, "12345678.90", *[0.5] * 7])
    line(
        "decode 1 row with timestamp, date, decimal",
        best_us(lambda: dated.decode(packed_one), 20_000),
        best_us(lambda: unpack(packed_one), 20_000),
    )
    raw.close()
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place), parser.parse_args().rows)


if __name__ == "__main__":
    main()
