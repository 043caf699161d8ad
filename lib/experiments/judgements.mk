# Judgements that are not taken as they are: columns with other names, and a train split that is carved out of another.
# They are kept in a folder of their own.

ifneq ($(QRELS_COLUMNS),)
$(judged)/train.parquet: $(train_qrels)
$(judged)/dev.parquet:   $(dev_qrels)
$(judged)/test.parquet:  $(test_qrels)
train_qrels := $(train_qrels:%=$(judged)/train.parquet)
dev_qrels   := $(dev_qrels:%=$(judged)/dev.parquet)
test_qrels  := $(test_qrels:%=$(judged)/test.parquet)

column = "$(word $(1),$(subst $(comma), ,$(QRELS_COLUMNS)))"
$(judged)/%.parquet: | $(judged)
	$(BIN)/sql -q -t q=$< 'SELECT $(call column,1) AS query_id, $(call column,2) AS doc_id, CAST($(call column,3) AS INT) AS relevance FROM q' -o $@
endif

ifneq ($(TRAIN_SHARE),)
$(if $(train_qrels),$(error TRAIN_SHARE is for a collection without a train split, and there is $(train_qrels)))
$(if $(filter 0.% .%,$(TRAIN_SHARE)),,$(error TRAIN_SHARE=$(TRAIN_SHARE) is not a share of the queries such as 0.8))

carved        := $(if $(test_qrels),test,dev)
whole_qrels   := $($(carved)_qrels)
train_qrels   := $(judged)/carved-train.parquet
train_queries := $($(carved)_queries)
$(carved)_qrels := $(judged)/carved-$(carved).parquet

# A query is in the one split or the other by a number between 0 and 2^32 that is made of its id and of the seed.
number   = left(sha256('\''$(SEED) '\'' || CAST(query_id AS VARCHAR)), 8)
limit    = lpad(to_hex(CAST($(TRAIN_SHARE) * 4294967296 AS BIGINT)), 8, '\''0'\'')
CARVE    = $(BIN)/sql -q -t qrels=$< 'SELECT * FROM qrels WHERE $(number) $(1) $(limit)' -o $@
$(train_qrels): $(whole_qrels) | $(judged)
	$(call CARVE,<)
$($(carved)_qrels): $(whole_qrels) | $(judged)
	$(call CARVE,>=)
endif
