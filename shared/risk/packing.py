"""Arrays as plain fields (strings, numbers, bytes), for whoever keeps them: exact, and compressed, since most
of a tally is zeros."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.risk.house import HouseTally
from shared.risk.positions import Float64Array
from shared.risk.scenarios import JoinedHistory


def pack_array(values: Float64Array) -> dict[str, Any]:
    """A float64 array of any shape."""
    contiguous = np.ascontiguousarray(values, dtype="<f8")
    return {"shape": list(values.shape), "float64": zlib.compress(contiguous.tobytes())}


def unpack_array(fields: Mapping[str, Any]) -> Float64Array:
    """The array of `pack_array`, bit for bit."""
    flat: Float64Array = np.frombuffer(zlib.decompress(fields["float64"]), dtype="<f8")
    return flat.reshape(fields["shape"]).copy()


def pack_history(history: JoinedHistory) -> dict[str, Any]:
    """A joined history."""
    first = history.dates[0]
    return {
        "first_day": str(first),
        "day_numbers": (history.dates - first).astype(np.int64).tolist(),
        "returns": pack_array(history.returns),
        "missing": list(history.missing),
        "proxied": {str(asset): days for asset, days in history.proxied.items()},
    }


def unpack_history(fields: Mapping[str, Any]) -> JoinedHistory:
    """The history of `pack_history`."""
    return JoinedHistory(
        np.datetime64(fields["first_day"], "D") + np.array(fields["day_numbers"], dtype="timedelta64[D]"),
        unpack_array(fields["returns"]),
        tuple(fields["missing"]),
        {int(asset): days for asset, days in fields["proxied"].items()},
    )


def pack_tally(tally: HouseTally) -> dict[str, Any]:
    """A tally of the house."""
    return {
        "loss_usd": pack_array(tally.loss_usd),
        "n_insolvent": pack_array(tally.n_insolvent.astype(np.float64)),
        "loss_by_asset_usd": pack_array(tally.loss_by_asset_usd),
        "loss_by_chain_usd": pack_array(tally.loss_by_chain_usd),
    }


def unpack_tally(fields: Mapping[str, Any]) -> HouseTally:
    """The tally of `pack_tally`."""
    return HouseTally(
        unpack_array(fields["loss_usd"]),
        unpack_array(fields["n_insolvent"]).astype(np.int64),
        unpack_array(fields["loss_by_asset_usd"]),
        unpack_array(fields["loss_by_chain_usd"]),
    )
