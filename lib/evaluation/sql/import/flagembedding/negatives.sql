-- The negatives in FlagEmbedding's training data: those of a query in the order of the lines and of their lists.
WITH lines AS (SELECT query, neg, row_number() OVER () AS line FROM data),
texts AS (
  SELECT query, line, unnest(range(CAST(array_length(neg) AS BIGINT))) AS place, unnest(neg) AS text FROM lines
),
negatives AS (
  SELECT left(sha256(query), 32) AS query_id, left(sha256(text), 32) AS doc_id, min(line) AS line, min(place) AS place
  FROM texts
  WHERE text IS NOT NULL
  GROUP BY 1, 2
),
ranked AS (SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY line, place) AS rank FROM negatives)
SELECT query_id, doc_id, CAST(rank AS INT) AS rank, CAST(1.0 / rank AS REAL) AS score FROM ranked ORDER BY query_id, rank
