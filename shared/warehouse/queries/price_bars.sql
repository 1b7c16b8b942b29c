-- An asset's bars in a range, oldest first; of several rows of a bar the latest counts.
SELECT asset, `interval`, start, open, high, low, close, ticks, source, as_of
FROM `{dataset}.price_bars`
WHERE asset = @asset
  AND `interval` = @interval
  AND start >= @start
  AND start < @finish
  AND start > @after
QUALIFY ROW_NUMBER() OVER (PARTITION BY start ORDER BY as_of DESC) = 1
ORDER BY start
LIMIT @row_limit
