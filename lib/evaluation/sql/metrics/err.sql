-- ERR@k: the expected 1 over the position where a reader stops, who is satisfied by a document with
-- probability (2^grade - 1) / 2^max_rel (Chapelle et al. 2009). As in gdeval and ir_measures,
-- max_rel is 4 whatever grades there are, and only grades above 0 count.
WITH satisfied AS (
  SELECT query_id, position, (power(2.0, relevance) - 1) / power(2.0, $max_rel) AS chance
  FROM qrels JOIN run USING (query_id, doc_id)
  WHERE relevance > 0 AND position <= $k
),
reached AS (
  -- The probability of coming so far is a product, so its logarithm is a sum.
  SELECT query_id, position, chance,
    coalesce(sum(ln(1 - chance)) OVER (
      PARTITION BY query_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0.0) AS log_reached
  FROM satisfied
)
SELECT query_id, sum(chance * exp(log_reached) / position) AS value
FROM reached
GROUP BY query_id
