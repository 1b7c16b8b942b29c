"""The HTML of the sinks' pages: one list, one message. No script, and nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}
th{color:#5b6775;font-weight:600} a{color:#0b57d0}
pre{background:#f4f6f9;padding:1rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}td,th{border-color:#2a323d}
pre{background:#1b222b}a{color:#8ab4f8}th{color:#94a1b0}}
"""


def list_page(
    title: str, summary: str, columns: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]
) -> str:
    """A page of messages; each row is the message's number and its cells."""
    head = "".join(f"<th scope=col>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + f'<td><a href="/messages/{number}">{html.escape(cells[0]) or "(empty)"}</a></td>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[1:])
        + "</tr>"
        for number, cells in rows
    )
    empty = "" if body else "<p>Nothing has arrived yet.</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{empty}"
    return _page(title, f"<p>{html.escape(summary)}</p>{table}", refresh_s=2)


def message_page(title: str, fields: Iterable[tuple[str, str]], text: str) -> str:
    """A page of one message: its fields and its text."""
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in fields
    )
    return _page(
        title, f'<p><a href="/">All messages</a></p><table>{rows}</table><pre>{html.escape(text)}</pre>'
    )


def clock_time(at_ms: int) -> str:
    """A moment of today, to the millisecond, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def _page(title: str, content: str, refresh_s: int | None = None) -> str:
    refresh = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s}">'
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8>{refresh}<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{content}</body></html>"
    )
