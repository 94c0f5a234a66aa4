"""CSV through two cleaners and a contract to Parquet, in pandas: the peer of `cargo xtask bench ingest`.

    ingest_pandas.py TABLE.csv OUT.parquet ENGINE

Rows with an empty number are dropped, numbers are clipped to [-8, 8], the types, nulls, ranges and classes are checked, and what is
left is written as Parquet with snappy. ENGINE is the reader of pandas: `c`, its default, or `pyarrow`. The clock starts after
the imports. Prints `seconds` and `rows` as JSON.
"""

import json
import sys
import time

import pandas as pd
import pyarrow  # noqa: F401  (imported here so that `to_parquet` does not pay for it)

table, out, engine = sys.argv[1:4]
numbers = [f"x{column}" for column in range(8)]
types = {"row": "int64", "label": "int64"} | {name: "float64" for name in numbers}

start = time.perf_counter()
rows = pd.read_csv(table, dtype=types, engine=engine)
rows = rows.dropna(subset=numbers)
rows[numbers] = rows[numbers].clip(-8.0, 8.0)

if dict(rows.dtypes.astype(str)) != types:
    raise SystemExit(f"the columns are {dict(rows.dtypes.astype(str))}")
broken = rows[numbers].isna().any(axis=1) | (rows[numbers].abs() > 8.0).any(axis=1) | ~rows["label"].isin([0, 1])
rows[~broken].to_parquet(out, compression="snappy", index=False)
print(json.dumps({"seconds": time.perf_counter() - start, "rows": int((~broken).sum())}))
