-- The negatives in Tevatron's training data: those of a query in the order of the lines and of their lists.
WITH lines AS (
  SELECT CAST(query_id AS VARCHAR) AS id, negative_passages AS passages, row_number() OVER () AS line FROM data
),
passages AS (
  SELECT id, line, unnest(range(CAST(array_length(passages) AS BIGINT))) AS place, unnest(passages) AS p FROM lines
),
negatives AS (
  SELECT id AS query_id, CAST(p['docid'] AS VARCHAR) AS doc_id, min(line) AS line, min(place) AS place
  FROM passages
  WHERE p['docid'] IS NOT NULL
  GROUP BY 1, 2
),
ranked AS (SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY line, place) AS rank FROM negatives)
SELECT query_id, doc_id, CAST(rank AS INT) AS rank, CAST(1.0 / rank AS REAL) AS score FROM ranked ORDER BY query_id, rank
