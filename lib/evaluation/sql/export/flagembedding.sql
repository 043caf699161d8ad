-- Training data of FlagEmbedding: a line for each query, with the texts relevant to it (pos) and its negatives (neg).
-- Queries without negatives are left out, because FlagEmbedding ends with an error over an empty list.
-- Tables: docs and queries (texts), qrels, negatives; all with the collection's own ids.
WITH texts AS (
  SELECT CAST(id AS VARCHAR) AS id, CASE WHEN title <> '' THEN btrim(title || ' ' || text) ELSE text END AS text FROM docs
),
relevant AS (
  SELECT CAST(query_id AS VARCHAR) AS query_id, array_agg(text ORDER BY doc_id) AS pos
  FROM qrels JOIN texts ON id = CAST(doc_id AS VARCHAR) WHERE relevance > 0 GROUP BY 1
),
irrelevant AS (
  SELECT CAST(query_id AS VARCHAR) AS query_id, array_agg(text ORDER BY rank) AS neg
  FROM negatives JOIN texts ON id = CAST(doc_id AS VARCHAR) GROUP BY 1
)
SELECT text AS query, pos, neg
FROM relevant JOIN queries ON CAST(id AS VARCHAR) = query_id JOIN irrelevant USING (query_id)
ORDER BY query_id
