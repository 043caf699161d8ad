-- Triplets for sentence-transformers: a line for each query, each document relevant to it, and each of its negatives.
-- Tables: docs and queries (texts), qrels, negatives; all with the collection's own ids.
WITH texts AS (
  SELECT CAST(id AS VARCHAR) AS id, CASE WHEN title <> '' THEN btrim(title || ' ' || text) ELSE text END AS text FROM docs
)
SELECT
  q.text AS anchor,
  relevant.text AS positive,
  irrelevant.text AS negative
FROM qrels AS r
JOIN negatives AS n ON n.query_id = r.query_id
JOIN queries AS q ON CAST(q.id AS VARCHAR) = CAST(r.query_id AS VARCHAR)
JOIN texts AS relevant ON relevant.id = CAST(r.doc_id AS VARCHAR)
JOIN texts AS irrelevant ON irrelevant.id = CAST(n.doc_id AS VARCHAR)
WHERE r.relevance > 0
ORDER BY r.query_id, r.doc_id, n.rank
