-- One account's recorded risk by one method, horizon and level in a range, oldest first.
-- A run's rows are loaded once; the row_id says so where they were not.
SELECT
  row_id, account_id, as_of, method, horizon_days, level, net_usd, gross_usd, var_usd, es_usd,
  unmeasured_reason, missing_assets, definition, scenario_set_id, scenario_definition, history_first,
  history_last, n_observations, position_version
FROM `{dataset}.portfolio_risks`
WHERE account_id = @account_id
  AND method = @method
  AND horizon_days = @horizon_days
  AND level = @level
  AND as_of >= @start
  AND as_of < @finish
  AND (as_of > @after_as_of OR (as_of = @after_as_of AND row_id > @after_row_id))
QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
ORDER BY as_of, row_id
LIMIT @row_limit
