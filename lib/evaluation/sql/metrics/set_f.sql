-- SetF(beta): the weighted harmonic mean of precision P and recall R of the whole list, as
-- trec_eval's set_F has it: (beta + 1) P R / (R + beta P), here with both fractions multiplied out.
SELECT query_id, ($beta + 1) * found / (length + $beta * relevant) AS value
FROM (
  SELECT query_id, CAST(count(position) AS DOUBLE) AS found, CAST(count(*) AS DOUBLE) AS relevant
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
  GROUP BY query_id
) JOIN lists USING (query_id)
WHERE found > 0
