-- The whole book under each named scenario, of the last run since a moment that is done.
WITH results AS (
  SELECT scenario, state, pnl_usd, shortfall_usd, horizon_days, as_of, scenario_set_id, definition
  FROM `{dataset}.stress_test_results`
  WHERE as_of >= @since
    AND as_of = (SELECT MAX(as_of) FROM `{dataset}.house_risks` WHERE as_of >= @since)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
)
SELECT
  scenario,
  MAX(as_of) AS as_of,
  MAX(horizon_days) AS horizon_days,
  MAX(definition) AS definition,
  MAX(scenario_set_id) AS scenario_set_id,
  COUNT(*) AS accounts,
  COUNTIF(state = 'UNVALUED') AS unvalued,
  COUNTIF(state = 'MARGIN_CALL') AS margin_calls,
  COUNTIF(state = 'LIQUIDATION') AS liquidations,
  COUNTIF(state = 'INSOLVENT') AS insolvent,
  SUM(pnl_usd) AS pnl_usd,
  SUM(shortfall_usd) AS shortfall_usd
FROM results
GROUP BY scenario
ORDER BY scenario
