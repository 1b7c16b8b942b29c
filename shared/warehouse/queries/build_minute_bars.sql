-- Bars of one minute from the marks of whole minutes in a range, where they are not known yet or ticks came late.
-- A bar that was back-filled from elsewhere stays.
INSERT INTO `{dataset}.price_bars`
  (asset, `interval`, start, open, high, low, close, ticks, source, as_of)
WITH priced AS (
  SELECT asset, tick_sequence, as_of, CAST(price AS BIGNUMERIC) AS price
  FROM `{dataset}.marks`
  WHERE as_of >= @start AND as_of < @finish AND price IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
),
bars AS (
  SELECT
    asset,
    TIMESTAMP_TRUNC(as_of, MINUTE) AS start,
    ARRAY_AGG(price ORDER BY tick_sequence LIMIT 1)[OFFSET(0)] AS open,
    MAX(price) AS high,
    MIN(price) AS low,
    ARRAY_AGG(price ORDER BY tick_sequence DESC LIMIT 1)[OFFSET(0)] AS close,
    COUNT(*) AS ticks
  FROM priced
  GROUP BY asset, start
),
known AS (
  SELECT asset, start, ticks, source
  FROM `{dataset}.price_bars`
  WHERE `interval` = '1m' AND start >= @start AND start < @finish
  QUALIFY ROW_NUMBER() OVER (PARTITION BY asset, start ORDER BY as_of DESC) = 1
)
SELECT bars.asset, '1m', bars.start, bars.open, bars.high, bars.low, bars.close, bars.ticks, 'marks', @as_of
FROM bars
LEFT JOIN known ON known.asset = bars.asset AND known.start = bars.start
WHERE known.asset IS NULL OR (known.source = 'marks' AND known.ticks != bars.ticks)
