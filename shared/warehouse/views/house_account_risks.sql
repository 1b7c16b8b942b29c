-- Each account's part of the house's expected shortfall at each run and level: its shortfall in each scenario
-- times the scenario's share in ES. A run that is not done has no shares yet, so it is not shown.
WITH shortfalls AS (
  SELECT as_of, account_id, position_version, scenarios, shortfalls_usd
  FROM `{dataset}.house_shortfalls`
  QUALIFY ROW_NUMBER() OVER (PARTITION BY as_of, row_id ORDER BY account_id) = 1
),
totals AS (
  SELECT as_of, level, tail_shares
  FROM `{dataset}.house_risks`
  WHERE part_kind = 'total'
  QUALIFY ROW_NUMBER() OVER (PARTITION BY as_of, row_id ORDER BY level) = 1
)
SELECT
  shortfalls.as_of,
  totals.level,
  shortfalls.account_id,
  shortfalls.position_version,
  SUM(shortfalls.shortfalls_usd[OFFSET(place)] * totals.tail_shares[OFFSET(scenario)]) AS es_usd
FROM shortfalls
JOIN totals ON totals.as_of = shortfalls.as_of
CROSS JOIN UNNEST(shortfalls.scenarios) AS scenario WITH OFFSET AS place
GROUP BY shortfalls.as_of, totals.level, shortfalls.account_id, shortfalls.position_version
HAVING es_usd > 0
