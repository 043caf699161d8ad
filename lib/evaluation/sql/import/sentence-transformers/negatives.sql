-- The negatives in triplets (anchor, positive, negative): those of a query in the order of the lines.
WITH negatives AS (
  SELECT left(sha256(anchor), 32) AS query_id, left(sha256(negative), 32) AS doc_id, min(line) AS line
  FROM (SELECT *, row_number() OVER () AS line FROM data)
  WHERE negative IS NOT NULL
  GROUP BY 1, 2
),
ranked AS (SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY line) AS rank FROM negatives)
SELECT query_id, doc_id, CAST(rank AS INT) AS rank, CAST(1.0 / rank AS REAL) AS score FROM ranked ORDER BY query_id, rank
