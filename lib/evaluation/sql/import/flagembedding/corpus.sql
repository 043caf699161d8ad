-- The passages of FlagEmbedding's training data. An id is made of the text.
SELECT left(sha256(text), 32) AS _id, text
FROM (SELECT unnest(pos) AS text FROM data UNION SELECT unnest(neg) FROM data)
WHERE text IS NOT NULL
ORDER BY _id
