-- The passages of triplets (anchor, positive, negative). An id is made of the text.
SELECT left(sha256(text), 32) AS _id, text
FROM (SELECT positive AS text FROM data UNION SELECT negative FROM data)
WHERE text IS NOT NULL
ORDER BY _id
