"""What the methods of frames and columns do to rows, by name: pandas', polars' and Spark's words side by side."""

from __future__ import annotations

SAME_ROWS = frozenset(
    ["copy", "reset_index", "astype", "dropna", "sort_index", "set_index", "drop", "head", "sample", "reindex", "convert_dtypes", "pipe_through", "infer_objects", "lazy", "collect", "cache", "persist", "repartition", "coalesce", "to_frame", "to_pandas", "to_polars", "clone", "rechunk", "alias", "rename_axis", "droplevel", "drop_nulls", "with_row_index", "limit", "select_dtypes", "add_prefix", "add_suffix", "set_axis", "fill_nan", "drop_in_place", "explode", "stack", "unstack", "sort_values_by", "toPandas", "clip", "round", "abs", "replace"]
)
SAME_VALUES = frozenset(
    ["astype", "fillna", "fill_null", "round", "abs", "clip", "replace", "str", "cat", "dt", "to_numpy", "values", "tolist", "cast", "rename", "reset_index", "copy", "to_frame", "notna", "isna", "isnull", "notnull", "alias", "sort_index", "set_axis", "cat", "upper", "lower", "strip", "len", "contains", "tz_localize", "tz_convert", "values", "as_unit", "to_list", "infer_objects", "drop", "dropna", "squeeze"]
)
AGGREGATES = frozenset(
    ["sum", "mean", "median", "min", "max", "std", "var", "count", "size", "nunique", "first", "last", "nth", "tail", "head", "agg", "aggregate", "quantile", "prod", "any", "all", "idxmax", "idxmin", "sem", "skew", "kurt", "mode", "describe", "value_counts", "n_unique", "len", "arg_max", "arg_min", "product", "apply_all", "collect_list", "countDistinct", "avg", "stddev", "approx_count_distinct", "unique", "ohlc"]
)
CUMULATIVE = frozenset(
    ["cumsum", "cummax", "cummin", "cumprod", "cum_sum", "cum_max", "cum_min", "cum_prod", "cumulative_eval", "ewm", "expanding", "ffill", "pad", "forward_fill"]
)
FUTURE = frozenset(["bfill", "backfill", "backward_fill", "interpolate"])
WHOLE = frozenset(["rank", "transform", "qcut"])
FLOORS = {
    "normalize": "day",
    "date": "day",
    "floor": "",
    "to_period": "",
    "truncate": "",
    "start_time": "",
    "to_timestamp": "",
}
FREQUENCIES = {
    "d": "day", "h": "hour", "w": "week", "m": "month", "ms": "month", "me": "month", "q": "quarter", "y": "year", "a": "year",
    "min": "minute", "t": "minute", "s": "second", "day": "day", "month": "month", "week": "week", "hour": "hour", "mo": "month",
    "year": "year", "qs": "quarter", "ys": "year", "qe": "quarter", "ye": "year",
}  # fmt: skip
COMPARISONS = {"lt": "LT", "le": "LTE", "gt": "GT", "ge": "GTE", "eq": "EQ", "ne": "NEQ"}
READERS = frozenset(
    ["read_csv", "read_parquet", "read_json", "read_excel", "read_feather", "scan_parquet", "scan_csv", "read_table", "table", "read_pickle", "read_database", "read_orc"]
)
SQL_CALLS = frozenset(
    ["sql", "read_sql", "read_sql_query", "execute", "query", "sql_query", "read_database", "raw_sql", "read_gbq", "executemany", "run_query", "text"]
)


def frequency(text: str) -> str | None:
    """Return the unit of a frequency such as ``1D`` or ``MS``; several of one are taken for the next larger."""
    name = text.lower().lstrip("0123456789").split("-")[0]
    return FREQUENCIES.get(name)
