-- Bars of an hour or a day from the shorter bars of whole hours or days in a range, as build_minute_bars does it.
INSERT INTO `{dataset}.price_bars`
  (asset, `interval`, start, open, high, low, close, ticks, source, as_of)
WITH shorter AS (
  SELECT asset, start AS part, open, high, low, close, ticks
  FROM `{dataset}.price_bars`
  WHERE `interval` = @shorter AND start >= @start AND start < @finish
  QUALIFY ROW_NUMBER() OVER (PARTITION BY asset, start ORDER BY as_of DESC) = 1
),
bars AS (
  SELECT
    asset,
    IF(@interval = '1h', TIMESTAMP_TRUNC(part, HOUR), TIMESTAMP_TRUNC(part, DAY)) AS start,
    ARRAY_AGG(open ORDER BY part LIMIT 1)[OFFSET(0)] AS open,
    MAX(high) AS high,
    MIN(low) AS low,
    ARRAY_AGG(close ORDER BY part DESC LIMIT 1)[OFFSET(0)] AS close,
    SUM(ticks) AS ticks
  FROM shorter
  GROUP BY asset, start
),
known AS (
  SELECT asset, start, ticks, source
  FROM `{dataset}.price_bars`
  WHERE `interval` = @interval AND start >= @start AND start < @finish
  QUALIFY ROW_NUMBER() OVER (PARTITION BY asset, start ORDER BY as_of DESC) = 1
)
SELECT
  bars.asset, @interval, bars.start, bars.open, bars.high, bars.low, bars.close, bars.ticks, 'marks', @as_of
FROM bars
LEFT JOIN known ON known.asset = bars.asset AND known.start = bars.start
WHERE known.asset IS NULL OR (known.source = 'marks' AND known.ticks != bars.ticks)
