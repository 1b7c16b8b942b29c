"""measure_risk: every account once per run, whatever happens, and what cannot be measured says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.cloud import firestore

from shared.domain.closes import first_day_needed, model_history
from shared.domain.positions import Account
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.scenarios import filtered_scenarios
from shared.risk.tail import var_es
from shared.warehouse import client as warehouse_client
from shared.warehouse.daily_closes import read_daily_closes
from tests.closes import day_before, write_closes
from tests.conftest import Project, network_document
from tests.eventually import eventually
from tests.functions.book import account, store_accounts, store_tick
from tests.functions.conftest import Caller, Outage
from tests.functions.instances import Instances
from tests.messages import price_tick

FUNCTION = "measure_risk"
POLICY = measurement_policy()
CLOSES = POLICY.n_returns + 1
PER_ACCOUNT = len(POLICY.recorded_methods) * len(POLICY.horizons_days) * len(POLICY.levels)
ASSETS = {asset: f"0x{number:040x}" for number, asset in enumerate(("ETH", "LINK", "USDC"), start=1)}
TABLES = (
    "portfolio_risks",
    "margin_requirements",
    "stress_test_results",
    "house_shortfalls",
    "house_risks",
)


def address(number: int) -> str:
    """Account ids in order."""
    return f"0x{number:040x}"


def of_number(number: int) -> Account:
    """An account that holds ETH and owes USDC, each another amount."""
    return account(address(number), ETH=(str(number), "0"), USDC=("0", str(1000 * number)))


@dataclass
class Book:
    """The stores behind the function."""

    project: Project
    store: firestore.Client
    moment: datetime

    def __post_init__(self) -> None:
        self.project.write_network(network_document(**ASSETS))
        self.project.provision_warehouse("price_bars", *TABLES)
        self.warehouse = warehouse_client.connect(
            self.project.settings("BIGQUERY_DATASET", uses=("bigquery",))
        )
        store_tick(self.store, price_tick(7, as_of=self.moment, ETH="1600", LINK="15", USDC="1"))

    def put(self, accounts: Sequence[Account]) -> None:
        """Write accounts."""
        store_accounts(self.store, accounts)

    def put_closes(self, **n_days: int) -> None:
        """Write daily closes up to yesterday."""
        write_closes(self.warehouse, n_days, last=day_before(self.moment), as_of=self.moment)

    def rows(self, table: str, order_by: str = "row_id") -> list[dict[str, Any]]:
        """A table's rows, each as often as it is there."""
        statement = f"SELECT * FROM `{self.warehouse.dataset}.{table}` ORDER BY {order_by}"
        return [dict(row) for row in self.warehouse.client.query(statement).result()]

    def measured(self) -> list[str]:
        """The accounts of margin_requirements, each as often as it is there."""
        return [row["account_id"] for row in self.rows("margin_requirements", "account_id")]


@pytest.fixture
def book(project: Project, store: firestore.Client) -> Book:
    """An empty book at a tick of this moment."""
    return Book(project, store, datetime.now(UTC))


def run(call: Caller, moment: datetime, calls: int = 50) -> list[dict[str, Any]]:
    """Call until the run is done; the answers."""
    answers: list[dict[str, Any]] = []
    while len(answers) < calls and (not answers or answers[-1]["state"] == "running"):
        outcome = call.request(FUNCTION, schedule_time=moment)
        assert outcome.status == 200, outcome
        answers.append(outcome.body)
    return answers


def test_every_account_is_measured_at_the_marks_and_history_of_one_moment(call: Caller, book: Book) -> None:
    book.put([of_number(1), of_number(2)])
    book.put_closes(ETH=CLOSES + 20, USDC=CLOSES + 20, LINK=CLOSES + 20)

    assert run(call, book.moment)[-1] == {
        "as_of": book.moment.isoformat(),
        "state": "done",
        "accounts": 2,
        "blocks": 1,
    }

    risks = book.rows("portfolio_risks")
    assert len(risks) == len({row["row_id"] for row in risks}) == 2 * PER_ACCOUNT
    closes = read_daily_closes(
        book.warehouse,
        sorted(ASSETS),
        first=first_day_needed(book.moment.date(), POLICY),
        finish=book.moment.date(),
        known_at=book.moment,
    )
    history = model_history(closes, sorted(ASSETS), POLICY)
    assert history.models is not None
    scenarios = filtered_scenarios(history.models.history, decay=POLICY.ewma_decay)
    # ETH, LINK, USDC, and whatever is not listed: two ETH at 1600, 2,000 USDC owed.
    pnl = scenarios.returns @ np.array([3200.0, 0.0, -2000.0, 0.0])
    (row,) = (
        r
        for r in risks
        if (r["account_id"], r["method"], r["horizon_days"], r["level"])
        == (address(2), RiskMethod.FILTERED, 1, 0.99)
    )
    expected_var, expected_es = (float(value[0]) for value in var_es(pnl, 0.99))
    assert (row["var_usd"], row["es_usd"]) == (pytest.approx(expected_var), pytest.approx(expected_es))
    assert 0 < row["var_usd"] < row["es_usd"]
    assert (row["net_usd"], row["gross_usd"]) == (pytest.approx(1200.0), pytest.approx(5200.0))
    assert (row["as_of"], row["tick_sequence"], row["position_version"]) == (book.moment, 7, 1)
    assert (row["scenario_set_id"], row["definition"]) == (
        scenarios.id,
        "var-es.order-statistic-ceil.fractional-es.v1",
    )
    assert (str(row["history_first"]), str(row["history_last"])) == (scenarios.first, scenarios.last)
    assert row["n_observations"] == POLICY.n_returns
    assert (row["unmeasured_reason"], row["missing_assets"]) == (None, [])

    requirement = book.rows("margin_requirements", "account_id")[1]
    assert (requirement["state"], requirement["collateral_usd"], requirement["debt_usd"]) == (
        "HEALTHY",
        3200.0,
        2000.0,
    )
    assert (requirement["initial_margin_usd"], requirement["maintenance_margin_usd"]) == (1000.0, 600.0)

    stress = {(r["account_id"], r["scenario"]): r for r in book.rows("stress_test_results")}
    crash = stress[address(2), "covid_crash_week"]
    assert crash["pnl_usd"] == pytest.approx(-0.528475 * 3200)
    assert (crash["state"], crash["horizon_days"]) == ("INSOLVENT", 7)
    assert crash["shortfall_usd"] == pytest.approx(2000 - 3200 * (1 - 0.528475))


def test_the_house_loses_what_insolvent_accounts_owe(call: Caller, book: Book, project: Project) -> None:
    project.setenv(RISK_BLOCK_ACCOUNTS="2")
    project.provision_warehouse("house_account_risks")
    # Nearly under water: a fall of 2 % is enough. The third owes twice as much, in another block.
    book.put([account(address(n), ETH=("1", "0"), USDC=("0", "1570")) for n in (1, 2)])
    book.put([account(address(3), ETH=("2", "0"), USDC=("0", "3140"))])
    book.put([of_number(9), account(address(10), LINK=("1", "0"))])
    book.put_closes(ETH=CLOSES, USDC=CLOSES)

    run(call, book.moment)

    rows = book.rows("house_risks")
    totals = {row["level"]: row for row in rows if row["part_kind"] == "total"}
    assert set(totals) == set(POLICY.levels)
    total = totals[0.99]
    assert 0 < total["var_usd"] <= total["es_usd"]
    assert total["max_insolvent"] >= 3
    # LINK has no history: its holder is named as left out, not counted as no risk.
    assert (total["accounts"], total["outside_accounts"], total["missing_assets"]) == (5, 1, ["LINK"])
    for kind in ("asset", "chain"):
        parts = {
            row["part"]: row["es_usd"] for row in rows if row["part_kind"] == kind and row["level"] == 0.99
        }
        assert set(parts) == {"USDC" if kind == "asset" else "31337"}
        assert sum(parts.values()) == pytest.approx(total["es_usd"])
    parts_by_account = book.rows("house_account_risks", "account_id")
    for level, whole in totals.items():
        by_account = {row["account_id"]: row["es_usd"] for row in parts_by_account if row["level"] == level}
        assert set(by_account) == {address(1), address(2), address(3)}
        assert by_account[address(3)] == pytest.approx(2 * by_account[address(1)])
        assert sum(by_account.values()) == pytest.approx(whole["es_usd"])


def test_what_cannot_be_measured_says_why_and_is_never_zero(call: Caller, book: Book) -> None:
    book.put(
        [
            account(address(1), LINK=("10", "0")),
            account(address(2), DOGE=("5", "0")),
            account(address(3), ETH=("1", "0")),
        ]
    )
    book.put_closes(ETH=CLOSES, USDC=CLOSES, LINK=100)

    run(call, book.moment)

    by_account: dict[str, list[dict[str, Any]]] = {}
    for row in book.rows("portfolio_risks"):
        by_account.setdefault(row["account_id"], []).append(row)
    assert [len(rows) for rows in by_account.values()] == [PER_ACCOUNT] * 3
    short, unlisted, measured = (by_account[address(number)] for number in (1, 2, 3))
    assert {row["unmeasured_reason"] for row in short} == {
        f"LINK: 100 daily closes of {CLOSES} needed, {CLOSES - 100} missing"
    }
    assert {row["unmeasured_reason"] for row in unlisted} == {"no usable mark of DOGE"}
    assert [row["missing_assets"] for row in short + unlisted] == [["LINK"]] * PER_ACCOUNT + [
        ["DOGE"]
    ] * PER_ACCOUNT
    assert {(row["var_usd"], row["es_usd"]) for row in short + unlisted} == {(None, None)}
    assert all(row["var_usd"] > 0 and row["unmeasured_reason"] is None for row in measured)
    states = {row["account_id"]: row["state"] for row in book.rows("margin_requirements")}
    assert states == {address(1): "NO_DEBT", address(2): "UNVALUED", address(3): "NO_DEBT"}
    stressed = [r for r in book.rows("stress_test_results") if r["account_id"] == address(1)]
    assert {(r["state"], r["pnl_usd"]) for r in stressed} == {("UNVALUED", None)}
    assert all("of LINK" in r["unmeasured_reason"] for r in stressed)


def test_without_marks_or_history_every_row_says_so(
    call: Caller, project: Project, store: firestore.Client
) -> None:
    project.provision_warehouse("price_bars", *TABLES)
    store_accounts(store, [of_number(1)])
    moment = datetime.now(UTC)

    assert run(call, moment)[-1]["accounts"] == 1

    warehouse = warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))
    reasons = {
        table: {
            row["unmeasured_reason"]
            for row in warehouse.client.query(f"SELECT * FROM `{warehouse.dataset}.{table}`").result()
        }
        for table in ("portfolio_risks", "stress_test_results", "house_risks")
    }
    assert reasons == {
        "portfolio_risks": {"no price tick has been published"},
        "stress_test_results": {"no price tick has been published"},
        "house_risks": {
            f"ETH: no daily close, {CLOSES} are needed; USDC: no daily close, {CLOSES} are needed"
        },
    }


def test_blocks_cover_the_book_once_and_rest_on_the_inputs_of_the_start(
    call: Caller, book: Book, project: Project
) -> None:
    project.setenv(RISK_BLOCK_ACCOUNTS="2")
    book.put([of_number(number) for number in range(1, 6)])
    book.put_closes(ETH=CLOSES, USDC=CLOSES, LINK=CLOSES)
    first = call.request(FUNCTION, schedule_time=book.moment).body
    assert (first["state"], first["accounts"]) == ("running", 2)
    # Later news: another price, another history, an account in a range that is done.
    later = book.moment + timedelta(seconds=30)
    store_tick(book.store, price_tick(8, as_of=later, ETH="1", LINK="1", USDC="1"))
    write_closes(book.warehouse, {"ETH": 40}, last=day_before(book.moment), as_of=later)
    book.put([account("0x" + "0" * 39 + "0", ETH=("1", "0"))])

    answers = run(call, later + timedelta(minutes=1))

    assert [answer["as_of"] for answer in answers] == [book.moment.isoformat()] * len(answers)
    assert (answers[-1]["accounts"], answers[-1]["blocks"]) == (5, 3)
    assert book.measured() == [address(number) for number in range(1, 6)]
    risks = book.rows("portfolio_risks")
    assert len(risks) == 5 * PER_ACCOUNT
    assert {row["tick_sequence"] for row in risks} == {7}
    filtered = {row["scenario_set_id"] for row in risks if row["method"] == "filtered"}
    assert len(filtered) == len(POLICY.horizons_days)


def test_a_second_call_of_the_day_changes_nothing_and_the_next_day_starts_a_run(
    call: Caller, book: Book
) -> None:
    book.put([of_number(1)])
    book.put_closes(ETH=CLOSES, USDC=CLOSES, LINK=CLOSES)
    done = run(call, book.moment)[-1]
    counts = {table: len(book.rows(table)) for table in TABLES}

    again = call.request(FUNCTION, schedule_time=book.moment).body
    overtaken = call.request(FUNCTION, schedule_time=book.moment - timedelta(days=2)).body
    named = call.request(FUNCTION, {"as_of": done["as_of"]}).body

    assert again == overtaken == named == done
    assert {table: len(book.rows(table)) for table in TABLES} == counts
    tomorrow = book.moment + timedelta(days=1)
    assert run(call, tomorrow)[-1]["as_of"] == tomorrow.isoformat()
    assert book.measured() == [address(1)] * 2


def test_an_operator_starts_a_run_at_once(call: Caller, book: Book) -> None:
    book.put([of_number(1)])
    first = run(call, book.moment)[-1]
    asked = call.request(FUNCTION, {}).body
    assert asked["as_of"] > first["as_of"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"as_of": "2026-01-01T00:00:00Z"}, "as_of"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "2026-01-01T00:00:00"}, "as_of"),
        ({"as_of": 5}, "as_of"),
        ({"until": "now"}, "body"),
        (["now"], "body"),
    ],
)
def test_a_run_that_cannot_be_is_refused(call: Caller, project: Project, body: Any, field: str) -> None:
    outcome = call.request(FUNCTION, body)
    assert (outcome.status, outcome.body["field"]) == (400, field)


@pytest.mark.parametrize("service", ["bigquery", "firestore"])
def test_it_is_called_again_while_a_service_is_away(
    call: Caller, book: Book, without: Outage, service: str
) -> None:
    book.put([of_number(1)])
    with without(service):
        assert call.request(FUNCTION, schedule_time=book.moment).status == 503
    eventually(lambda: call.request(FUNCTION, schedule_time=book.moment).status == 200, within_s=30)
    run(call, book.moment)
    assert book.measured() == [address(1)]


def test_a_process_killed_in_the_middle_loses_and_doubles_nothing(
    call: Caller, book: Book, project: Project
) -> None:
    """SIGKILL while blocks are being loaded; another instance goes on once the lease has ended."""
    project.setenv(RISK_BLOCK_ACCOUNTS="3", WINDOW_S="50")
    numbers = range(1, 31)
    book.put([of_number(number) for number in numbers])
    book.put_closes(ETH=CLOSES, USDC=CLOSES, LINK=CLOSES)
    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.post(url)
        # An instance imports the whole risk core before it answers.
        eventually(lambda: bool(book.rows("margin_requirements")), within_s=60)
        instances.kill(url)
    left = book.store.document("leases/measure_risk")
    # The lease of a dead process ends by itself; the test does not wait for it.
    left.update({"until": datetime.fromtimestamp(0, UTC)})

    answers = run(call, book.moment)

    assert (answers[-1]["state"], answers[-1]["accounts"]) == ("done", len(numbers))
    assert book.measured() == [address(number) for number in numbers]
    risks = book.rows("portfolio_risks")
    assert len(risks) == len({row["row_id"] for row in risks}) == len(numbers) * PER_ACCOUNT
    assert len(book.rows("stress_test_results")) == len(numbers) * 8
    totals = [row for row in book.rows("house_risks") if row["part_kind"] == "total"]
    assert [row["accounts"] for row in totals] == [len(numbers)] * len(POLICY.levels)
