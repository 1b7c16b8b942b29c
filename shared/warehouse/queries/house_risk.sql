-- The house's risk of the last run since a moment at one level: its total, and the parts of ES.
SELECT
  as_of, level, horizon_days, part_kind, part, var_usd, es_usd, max_insolvent, accounts, outside_accounts,
  unmeasured_reason, missing_assets, definition, scenario_set_id, scenario_definition, history_first,
  history_last, n_observations
FROM `{dataset}.house_risks`
WHERE as_of >= @since
  AND level = @level
  AND as_of = (SELECT MAX(as_of) FROM `{dataset}.house_risks` WHERE as_of >= @since)
QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
ORDER BY part_kind, part
