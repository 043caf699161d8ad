-- Training data of Tevatron: a line for each query, with the passages relevant to it and its negatives, ids and titles
-- included. Queries without negatives are left out, because Tevatron ends with an error over an empty list.
-- Tables: docs and queries (texts), qrels, negatives; all with the collection's own ids.
WITH passages AS (
  SELECT docid, named_struct('docid', docid, 'title', title, 'text', text) AS passage
  FROM (SELECT CAST(id AS VARCHAR) AS docid, coalesce(title, '') AS title, text FROM docs)
),
relevant AS (
  SELECT CAST(query_id AS VARCHAR) AS query_id, array_agg(passage ORDER BY doc_id) AS passages
  FROM qrels JOIN passages ON docid = CAST(doc_id AS VARCHAR) WHERE relevance > 0 GROUP BY 1
),
irrelevant AS (
  SELECT CAST(query_id AS VARCHAR) AS query_id, array_agg(passage ORDER BY rank) AS passages
  FROM negatives JOIN passages ON docid = CAST(doc_id AS VARCHAR) GROUP BY 1
)
SELECT query_id, text AS query, relevant.passages AS positive_passages, irrelevant.passages AS negative_passages
FROM relevant JOIN queries ON CAST(id AS VARCHAR) = query_id JOIN irrelevant USING (query_id)
ORDER BY query_id
