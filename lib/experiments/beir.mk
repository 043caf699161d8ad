# A folder in BEIR's layout: corpus.jsonl, queries.jsonl with the queries of all splits, and qrels/{train,dev,test}.tsv.
# A split whose judgements are missing is left out.

include lib/experiments/collection.mk

HERE         = $(OUT)/beir
DOCS         = $(DATA)/corpus.jsonl
QUERIES      = $(DATA)/queries.jsonl
judgements_of = $(firstword $(wildcard $(foreach end,.tsv .tsv.gz .tsv.zst,$(DATA)/qrels/$(1)$(end))))
TRAIN_QRELS  = $(call judgements_of,train)
DEV_QRELS    = $(call judgements_of,dev)
TEST_QRELS   = $(call judgements_of,test)
# DATA says it all.
NAMED       :=
# What to do about a file that is not there.
HINT        := DATA=folder names a folder in BEIR layout, with corpus.jsonl, queries.jsonl and qrels
