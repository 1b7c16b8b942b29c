-- What all accounts together held and owed in each hour since a moment, oldest first.
SELECT
  hour,
  COUNT(*) AS accounts,
  COUNTIF(debt_usd > 0) AS borrowers,
  SUM(collateral_usd) AS collateral_usd,
  SUM(debt_usd) AS debt_usd,
  MIN(min_health_pct) AS min_health_pct
FROM `{dataset}.hourly_exposures`
WHERE hour >= @since
GROUP BY hour
ORDER BY hour
