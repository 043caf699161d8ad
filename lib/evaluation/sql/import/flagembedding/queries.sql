-- The queries of FlagEmbedding's training data. An id is made of the text.
SELECT DISTINCT left(sha256(query), 32) AS _id, query AS text FROM data ORDER BY _id
