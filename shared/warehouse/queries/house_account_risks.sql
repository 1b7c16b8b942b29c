-- The accounts that cost the house most at a run and level, by rank, behind a rank. Amounts that are equal to
-- the millionth of a dollar rank by account, so that the rank does not depend on the order of a sum.
SELECT account_id, position_version, es_usd, place
FROM (
  SELECT
    account_id, position_version, es_usd,
    ROW_NUMBER() OVER (ORDER BY ROUND(es_usd, 6) DESC, account_id) AS place
  FROM `{dataset}.house_account_risks`
  WHERE as_of = @as_of
    AND level = @level
)
WHERE place > @after_place
ORDER BY place
LIMIT @row_limit
