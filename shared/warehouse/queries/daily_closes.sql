-- Daily closes of some assets in a range of days, as known at a moment.
-- A bar is written again when it is back-filled; the one with the latest as_of counts.
SELECT asset, start, close
FROM (
  SELECT asset, start, close
  FROM `{dataset}.price_bars`
  WHERE `interval` = '1d'
    AND asset IN UNNEST(@assets)
    AND start >= @start
    AND start < @finish
    AND as_of <= @known_at
  QUALIFY ROW_NUMBER() OVER (PARTITION BY asset, start ORDER BY as_of DESC) = 1
)
WHERE close > 0
ORDER BY asset, start
