-- Judged@k: the share of the first k documents that is in the qrels, with whatever grade. As in
-- ir_measures, a list shorter than k is divided by its length.
SELECT query_id, count(*) FILTER (WHERE position <= $k) / CAST(least(min(length), $k) AS DOUBLE) AS value
FROM lists LEFT JOIN run USING (query_id)
WHERE length > 0
GROUP BY query_id
