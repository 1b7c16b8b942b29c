"""Where prices come from, and how each asset's mark is made of them: data of the network description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shared.domain.fields import FieldReader, NetworkError


class SourceKind(StrEnum):
    """How a source is read."""

    CHAINLINK = "chainlink"
    PYTH_CONTRACT = "pyth_contract"
    HERMES = "hermes"
    EXCHANGE = "exchange"


ON_CHAIN = (SourceKind.CHAINLINK, SourceKind.PYTH_CONTRACT)


class HermesTransport(StrEnum):
    """Whether Hermes is asked at every tick, or sends what changes."""

    LATEST = "latest"
    STREAM = "stream"


class Valuation(StrEnum):
    """What collateral and debt are valued at.

    ``MARK``: both at the mark. ``CONFIDENCE``: collateral at the mark less its confidence, debt at the mark
    plus its confidence, as Pyth advises (https://docs.pyth.network/price-feeds/best-practices).
    """

    MARK = "mark"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class SequencerFeed:
    """A rollup's sequencer feed: answers count only ``grace_s`` seconds after the sequencer came back
    (https://docs.chain.link/data-feeds/l2-sequencer-feeds)."""

    address: str
    grace_s: int


@dataclass(frozen=True, slots=True)
class PriceSource:
    """One place that is asked for prices.

    Two sources are independent exactly where their ``provider`` differs: the same network of publishers read
    over two chains is one provider. ``timeout_s`` is the most that one tick waits for it. A tie breaker
    counts only where the others contradict each other or are too few.

    ``registry`` is where its publisher lists its feeds (see :mod:`shared.domain.feed_registry`).

    On chain, everything is read through the chain's multicall in one call, from as many nodes as it takes
    until ``agreeing_nodes`` say the same; ``contract`` is Pyth's.
    """

    source_id: str
    kind: SourceKind
    provider: str
    is_enabled: bool
    is_tie_breaker: bool
    timeout_s: float
    registry: str | None = None
    chain_id: int | None = None
    agreeing_nodes: int = 1
    sequencer: SequencerFeed | None = None
    contract: str | None = None
    transport: HermesTransport | None = None
    silence_s: float | None = None
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Quotation:
    """An asset at a source: the feed's address, Pyth's price id or the exchange's product. ``symbol`` is what
    the source's registry calls it (``ETH / USD``, ``Crypto.ETH/USD``).

    An observation older than ``heartbeat_s + slack_s`` is stale: the feed's own rhythm decides, for
    USDC's is a day where ETH's is an hour.
    """

    feed: str
    heartbeat_s: int
    slack_s: int
    weight: int
    symbol: str

    @property
    def max_age_s(self) -> int:
        """Age of an observation from which it may no longer be used."""
        return self.heartbeat_s + self.slack_s


@dataclass(frozen=True, slots=True)
class Peg:
    """The price that a stablecoin stands for; further from it than ``limit_pct`` operators are told.
    The mark itself is never moved towards it."""

    price: Decimal
    limit_pct: Decimal


@dataclass(frozen=True, slots=True)
class PricePolicy:
    """How an asset's mark is made of quotes; every limit is a percentage of the price it is held against.

    Args:
        quorum: independent providers that a mark needs.
        outlier_limit_pct: a quote further than this from the weighted median never counts.
        outlier_floor_pct: nearer than this it always does, however close the others are.
        outlier_mads: between the two, how many median absolute deviations (scaled by 1.4826) it may be off.
        max_confidence_pct: wider confidence, of one quote or of the mark, makes it unusable.
        max_jump_pct: a larger move from the last good mark needs two providers; None where there is one.
        hold_s: how long the last good mark stands in while quotes contradict each other or a jump waits.
        carry_s: how long a source's last quote stands in while the source cannot be reached.
        valuation: what collateral and debt are valued at.
        peg: of a stablecoin.
        quotations: by source id.
    """

    quorum: int
    outlier_limit_pct: Decimal
    outlier_floor_pct: Decimal
    outlier_mads: Decimal
    max_confidence_pct: Decimal
    max_jump_pct: Decimal | None
    hold_s: int
    carry_s: int
    valuation: Valuation
    peg: Peg | None
    quotations: Mapping[str, Quotation]


def read_sources(listed: FieldReader) -> dict[str, PriceSource]:
    """``price_sources`` of the network description.

    Raises:
        NetworkError: naming the path of the first field that is wrong.
    """
    sources: dict[str, PriceSource] = {}
    for source_id in listed.remaining():
        entry = listed.object(source_id)
        if not source_id.isascii() or not all(part.isalnum() for part in source_id.split("-")):
            raise NetworkError(f"{entry.path('')[:-1]} must be words of letters and digits joined by '-'")
        sources[source_id] = _source(source_id, entry)
        entry.finish()
    return sources


def _source(source_id: str, entry: FieldReader) -> PriceSource:
    kind = SourceKind(entry.choice("kind", [each.value for each in SourceKind]))
    provider = entry.text("provider")
    is_enabled, is_tie_breaker = entry.flag("enabled"), entry.flag("tie_breaker")
    timeout_s = float(entry.positive("timeout_s"))
    registry = None if entry.is_null("registry") else entry.text("registry")
    common = (source_id, kind, provider, is_enabled, is_tie_breaker, timeout_s, registry)
    if kind is SourceKind.HERMES:
        transport = HermesTransport(entry.choice("transport", [each.value for each in HermesTransport]))
        return PriceSource(*common, transport=transport, silence_s=float(entry.positive("silence_s")))
    if kind is SourceKind.EXCHANGE:
        return PriceSource(*common, base_url=entry.text("base_url"))
    sequencer = None
    if not entry.is_null("sequencer"):
        feed = entry.object("sequencer")
        sequencer = SequencerFeed(feed.address("address"), feed.integer("grace_s"))
        feed.finish()
    return PriceSource(
        *common,
        chain_id=entry.integer("chain_id", least=1),
        agreeing_nodes=entry.integer("agreeing_nodes", least=1),
        sequencer=sequencer,
        contract=entry.address("contract") if kind is SourceKind.PYTH_CONTRACT else None,
    )


def read_policy(entry: FieldReader, sources: Mapping[str, PriceSource]) -> PricePolicy:
    """``prices`` of an asset.

    Raises:
        NetworkError: naming the path of the first field that is wrong, or that contradicts another.
    """
    quotations = _quotations(entry.object("quotes"), sources)
    peg = None
    if not entry.is_null("peg"):
        described = entry.object("peg")
        peg = Peg(described.positive("price"), described.positive("limit_pct"))
        described.finish()
    policy = PricePolicy(
        quorum=entry.integer("quorum", least=1),
        outlier_limit_pct=entry.positive("outlier_limit_pct"),
        outlier_floor_pct=entry.decimal("outlier_floor_pct"),
        outlier_mads=entry.positive("outlier_mads"),
        max_confidence_pct=entry.positive("max_confidence_pct"),
        max_jump_pct=None if entry.is_null("max_jump_pct") else entry.positive("max_jump_pct"),
        hold_s=entry.integer("hold_s"),
        carry_s=entry.integer("carry_s"),
        valuation=Valuation(entry.choice("valuation", [each.value for each in Valuation])),
        peg=peg,
        quotations=quotations,
    )
    providers = independent_providers(quotations, sources)
    if policy.quorum > len(providers):
        raise NetworkError(
            f"{entry.path('quorum')} is {policy.quorum}, but the enabled sources have {len(providers)} "
            "independent providers"
        )
    if policy.max_jump_pct is not None and len(providers) < 2:
        raise NetworkError(f"{entry.path('max_jump_pct')} must be null: one provider cannot be confirmed")
    if policy.outlier_floor_pct > policy.outlier_limit_pct or policy.outlier_limit_pct >= 50:
        raise NetworkError(
            f"{entry.path('outlier_limit_pct')} must be from outlier_floor_pct to less than 50"
        )
    if policy.max_confidence_pct >= 100:
        raise NetworkError(f"{entry.path('max_confidence_pct')} must be less than 100")
    entry.finish()
    return policy


def independent_providers(source_ids: Iterable[str], sources: Mapping[str, PriceSource]) -> set[str]:
    """The providers behind the enabled ones of these sources."""
    return {sources[each].provider for each in source_ids if sources[each].is_enabled}


def _quotations(listed: FieldReader, sources: Mapping[str, PriceSource]) -> dict[str, Quotation]:
    quotations: dict[str, Quotation] = {}
    for source_id in listed.remaining():
        if source_id not in sources:
            raise NetworkError(f"{listed.path(source_id)} is not among the price_sources")
        entry = listed.object(source_id)
        chainlink = sources[source_id].kind is SourceKind.CHAINLINK
        quotations[source_id] = Quotation(
            feed=entry.address("feed") if chainlink else entry.text("feed"),
            heartbeat_s=entry.integer("heartbeat_s", least=1),
            slack_s=entry.integer("slack_s"),
            weight=entry.integer("weight", least=1),
            symbol=entry.text("symbol"),
        )
        entry.finish()
    return quotations
